// Package query answers the questions that people ask a machine through HostQueries: the log of a job, snapshots and what is in them, the content of
// a file, and how the machine is.
//
// # Use
//
//	a := query.New(query.Options{…})
//	a.Open(m, outlet); a.Credit(m); a.Close(m)  // what the session brings; none of them waits for anything
//	a.SessionEnded()                            // its streams are gone
//	a.Stop()                                    // the agent stops: each answer gets its end
//
// # One answer
//
// answers.go keeps the streams of a session apart and decides whether an open is taken. stream.go is the life of one: verified by Options.Verify, its
// parameters opened, consent looked up, then one function for each kind (log.go, repository.go, content.go, diagnosis.go), and an AnswerEnd whatever
// happened. answer.go is the way out: it gathers records and data into chunks, for at most flushEvery, waits for credit, seals and sends.
//
// Who produces waits for the credit of the one who collects: restic stands still at its pipe, and memory holds one chunk for each stream. A chunk takes its
// place in the sealed stream when it is sealed, so it is sealed only when there is credit for it, and then sent whatever happens meanwhile. A little credit
// is kept back for the AnswerEnd.
//
// # Ends
//
// An answer ends when it is complete; at the query's notAfter; when the agent stops; when it is too large; when it fails. All these are told in the
// AnswerEnd. When the gateway closes the stream, its session ends, or it breaks the rules for numbers and credit, nobody listens any more: restic is stopped,
// and nothing is sent.
//
// # Who may ask what
//
// A query counts only under the controllers' signature. Log, Snapshots and Diagnosis are always answered; Files, Find, Diff and Content only where the
// machine's owner said queries: allow. The machine's own log tells who asked for which file: each answer is one line, with the query's name, its uid and the
// paths. Nothing of that is in a StreamClose.
//
// # What a lying gateway can do
//
// It can open the streams that the controllers signed, at most maxOpens times each, and starve or cut them off. What it sends beside that ends a stream, or
// is ignored. Lines about it are logged at a bounded rate.
//
// # Locks
//
// Answers.mu guards the table of streams. answer.mu is held while a chunk is sent, so that who appends waits with it; credit.mu is a leaf.
package query
