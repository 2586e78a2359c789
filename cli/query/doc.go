// Package query asks one machine something and reads its answer: the requester's side of docs/adr/0029-answers-are-streams-to-the-requester.md.
//
// # Use
//
//	asker := &query.Asker{Client: c, Clock: clock.RealClock{}}
//	err := query.Records(ctx, asker, query.Question{Host: host, Kind: wire.QuerySnapshots}, func(s wire.SnapshotRecord) error { … })
//	_, err = asker.Log(ctx, host, query.LogOptions{…}, os.Stdout)
//
// # Internals
//
// Each question has an X25519 key and a stream secret of its own, which never leave this process. Ask seals the parameters to the keys that are pinned in the Host,
// creates the HostQuery, waits until the controllers have signed it, connects to the gateway and shows the secret. The opening of the answer must be signed by the
// machine's pinned key, and the last chunk must be an AnswerEnd: whatever the gateway does, an answer is whole and the machine's, or an error. The HostQuery is deleted
// in the end, also when the person gave up.
//
// Log survives what ends a stream: it knows its offset in the log, and asks again from there for the same job. What was written is never written twice.
//
// # Errors
//
// Every failure is an *Error with a Problem and a sentence that says what to do. Again tells those that pass.
//
// # Trade-offs
//
// A gateway that has not seen a query yet says that there is none: for a few seconds that is asked again. A silent network is noticed by pings within 40 s.
//
// An Asker is safe for concurrent use; each answer is read in the goroutine that asked.
package query
