// Package session keeps one WebSocket open to the gateway: dial, challenge and hello, heartbeats, backoff. It moves typed messages
// and never knows restic, sets or jobs.
//
// # Use
//
// New a Client and Run it; it calls the Handler and reconnects until its context ends. Send queues a message on the open session, or
// says ErrNotConnected; what must not be lost is kept by the caller (package outbox) and sent again after Connected. The answer to a stream.open goes out through
// the Stream that comes with it, which belongs to that session alone.
//
// # Never a hot loop
//
// Between two dials there is always a wait, whatever the gateway says or does: exponential with full jitter from 1 s to 60 s, not below
// minWait, and longer where the gateway asks for it or where trying soon is pointless (keys refused, protocol too old). Only a session
// that lasted stableAfter starts the backoff anew. A machine that has the tombstone of its Host looks rarely whether it is back: after 15 to 30 s at first, and
// after half an hour to an hour in the end. Each failure is logged once; the same failure again is logged at debug level.
//
// # Who is at the other end
//
// TLS proves the gateway (package transport). The hello binds the machine's signature to the gateway's nonce and to the name that was
// dialled, so that a gateway cannot pass it on to another one. The session counter is on disk before each dial, and grows: the
// gateway keeps the connection with the greatest. When it knows one that is not behind the one just dialled (stale_session), the
// disk went back in time: Handler.WentBack must succeed before the next dial, then the counter continues from the one on record.
// A gateway that many come to at once says wait instead of welcome, again and again; the machine stays while it does.
//
// # Goroutines and locks
//
// Run is the reader and calls the Handler, one call at a time; a Handler that blocks stops the reading, and after silenceLimit the
// session. Each session has a writer, which owns all writes, and a watchdog. The data of streams waits, without a queue, until the writer has nothing else to
// do: a slow gateway slows down whoever answers, and costs neither memory nor a heartbeat. Client.mu guards the queue of the open session; it is
// never held while anything is called or waited for.
package session
