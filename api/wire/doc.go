// Package wire is the protocol between agents and the gateway: message types, their envelope, limits and validation, and the
// documents that travel inside messages under the controllers' signature (schedule sets, job commands, enrolment verdicts).
//
// # Use
//
// A frame is one JSON text message {type, id, payload}. Encode builds it, Decode opens it into an Envelope, and Open turns
// the payload into the Go type registered for its Type and validates it. Unknown types are ErrUnknownType (callers ignore them)
// and unknown fields are dropped, so that either side may be newer than the other.
//
// Signed documents (ScheduleSet, JobCommand, JobCancel, EnrolVerdict) travel as the exact string that was signed, next to their
// signatures. Verify first (package seal), parse second (ParseScheduleSet and its siblings), obey last. Each carries a domain
// label, so that no document can be taken for one of another sort.
//
// # Internals and trade-offs
//
// JSON text was chosen over a binary encoding so that a person can read a recorded session; frames are small and rare. Every list
// and string has an upper bound that is checked by Validate: a peer can be wrong or hostile, never expensive.
//
// The package depends on the standard library alone and holds no state; everything in it is safe for concurrent use.
package wire
