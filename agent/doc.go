// Package agent is the whole agent: it composes the packages below it, and holds the decisions that need more than one of them.
//
// # Use
//
// New opens everything in the state folder and takes its lock; Run works until its context ends, and then lets a running restic stop
// and its result reach the outbox. cmd/restic-manager-agent adds flags and signals. Enrol and ReadStatus serve its other commands.
//
// # Who talks to whom
//
//	session ── sets ──────► desired ── changed ──► cron ── fires ──► fires ──► job ──► restic
//	   │  ▲                                                            ▲ │      │
//	   │  └── reports ◄── outbox ◄── finished, repository state ◄──────┼─┼──────┘
//	   └── verdicts, commands ─────────────────────────────────────────┘ ▼
//	                                                                 asks the gateway
//
// Children never import each other (job and restic excepted): each says what it needs as an interface or a function, and the files
// here fill it in, one subject each: sets.go, fires.go, commands.go, jobs.go, repository.go, reports.go.
//
// # What a lying gateway can do
//
// It is believed about liveness, verdicts and acknowledgements, and about nothing else. A verdict for a fire that nobody asked about and
// an acknowledgement beyond what was sent in this session are ignored and logged; a set or command counts only under the
// controllers' signature. Refusals are reported at a bounded rate, so that a flood of forged commands does not fill the disk.
//
// # Locks
//
// Callbacks of the session come one at a time and do not wait for anything but the disk. Each file's type has its own mutex for its
// own fields. The order where two are held: repository, then reports or status; reports is also held while the outbox is used.
package agent
