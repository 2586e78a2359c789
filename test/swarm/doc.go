// Package swarm simulates agents by the hundred or by the ten thousand in one process, out of the parts of the real one. Only restic is replaced.
//
// # Use
//
//	fleet, err := swarm.New(swarm.Options{URL: s.URL, Pins: pins, Namespace: ns, Count: 300, SigningKeys: keys,
//		Host:      func(i int, h *v1alpha1.Host) { h.Labels = map[string]string{"role": "web"} },
//		Behaviour: swarm.Behaviour{Job: func(j swarm.Job) swarm.Result { return swarm.Succeeded() }}})
//	defer fleet.Stop()
//	err = fleet.Create(ctx, client)      // one Secret, and a Host each, with its identity given up front: nobody enrols
//	err = fleet.Published(ctx, client)   // from here on the gateway knows them all
//	fleet.Start()
//	err = fleet.Wait(ctx, "all are settled", swarm.All(swarm.Connected, swarm.Runs("nightly"), swarm.Idle))
//	fired := fleet.Fire("nightly", "data", "2026-03-01T02:30")
//	err = fleet.Wait(ctx, "all results are stored", swarm.Idle)
//
// One Agent can be told to Fire, to Report or Send something, to Disconnect and to Reconnect; Set, Revision, Gateway, Credential and Trouble tell how it
// fares. Counts are sums over the fleet, Endings say why there was no session. The keys of SigningKeys are what an enrolment would bring
// (stack.SigningKeys). RESTIC_MANAGER_SWARM=1000 makes the fleet of this package's own test greater.
//
// # What is real
//
//   - agent/session: dial, TLS with pins, hello, session counter, heartbeats, backoff, drain. The agents share a few HTTP clients, which are those of
//     agent/transport with another dialer.
//   - agent/desired: each set and command is verified as on a machine (signatures, host, identity, serial, tombstone), its credentials are opened.
//   - agent/fires: the question at the gateway, its verdict, and what happens without one. agent/cron too, with Options.Cron.
//   - agent/delivery: durable reports with epoch and number, in order, a window at a time, until they are acknowledged.
//
// What package agent does itself between these parts is here in handler.go and starter.go, in fewer words.
//
// # What is not
//
//   - State files are in memory (atomicfiletest), and so is the outbox (box.go), which a test compares with the real one. A machine's disk that is full,
//     damaged or put back in time is tested in package agent.
//   - jobs.go stands for agent/job and restic: one job at a time, each id once, results of plausible size, as the Behaviour says. There are no attempts,
//     locks, hooks, logs or deadlines, and all consents are given. A job that lasts when the fleet stops is dropped.
//   - The credentials are not encrypted at rest, since there is no rest.
//   - Agents never restart; they disconnect and reconnect.
//
// # What it costs
//
// A folder for each agent was measured and left: one durable write takes 7 ms on the disk of the machine on which this was written, and 0.1 ms on a
// tmpfs. An agent writes four files at least until it is settled, and three for each report: 10,000 agents would need five minutes of waiting for a disk, or ten
// seconds of the CPU that the gateway needs as well. In memory it is nothing.
//
// An agent that is connected and idle costs 62 KB: 33 KB of heap, of which TLS is 7 KB and the WebSocket's buffers are 8 KB, and 29 KB of stacks, with
// 4 goroutines: the session's reader, writer and watchdog, and the delivery. That is the growth of HeapAlloc and StackInuse from before New until 1,000
// agents were settled, after five collections (stacks shrink by half with each), divided by 1,000; the share of TLS is that of the heap profile's
// samples below crypto/tls. The test logs it. An agent also has one open file; New raises the limit as far as it may, and says when that is not
// enough. Connections through stack.Balancer in the same process cost two files, three goroutines and some 15 KB more each: Options.Addresses does without.
//
// One local address has some 28,000 ports for each remote one; Options.Sources gives more.
//
// # Locks
//
// Agent.mu and jobs.mu guard their own fields. jobs.mu is held while a message is queued on the session, so that what is told of a job comes in order;
// neither is held while the Behaviour, or another part of the agent, is called.
package swarm
