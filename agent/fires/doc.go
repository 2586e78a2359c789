// Package fires takes each fire of cron from being due to a job, a refusal or a miss: it asks the gateway, and decides when there is no answer.
//
// # Use
//
// New one, set Settler, hand it to cron as its handler, and tell it of sessions and verdicts. What it decides, the Starter does. Wait returns once
// nothing is being handled, after the context of New has ended.
//
// # What it decides
//
// A fire whose job was started before is settled and nothing more. One that is later than its starting deadline is reported as missed. Otherwise the
// gateway is asked: it admits or refuses. No session within connectGrace, a session that ends, and no verdict within wire.VerdictTimeout count as
// disconnected: then the schedule's whenDisconnected says whether the backup runs all the same or waits for a session. A job that cannot be made
// durable is tried again after retryStart. A fire that the agent's end overtakes is not settled, and comes again at the next start.
//
// # Trade-offs
//
// A verdict is believed only for a fire that asks; a gateway that lies can withhold a backup for as long as it is believed to be there, and can admit
// nothing that cron did not bring.
//
// # Goroutines and locks
//
// Each fire has a goroutine while it is handled. One mutex guards the state of the session and who asks; it is never held while anything is called.
package fires
