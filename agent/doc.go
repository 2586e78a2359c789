// Package agent is the whole agent: it composes the packages below it, and holds the decisions that need more than one of them.
//
// # Use
//
// New opens everything in the state folder and takes its lock; Run works until its context ends, and then lets a running restic stop
// and its result reach the outbox. cmd/restic-manager-agent adds flags and signals. Enrol, ReadStatus and ExportCredentials serve its other
// commands; the latter two read beside a running agent, and change nothing.
//
// # Who talks to whom
//
//	session ── sets ──────► desired ── changed ──► cron ── fires ──► fires ──► job ──► restic
//	   │  ▲                                                            ▲ │      │
//	   │  └─ delivery ◄── outbox ◄── finished, repository state ◄──────┼─┼──────┘
//	   └── verdicts, commands ─────────────────────────────────────────┘ ▼
//	                                                                 asks the gateway
//
// Queries of people come by the session as streams, and go through query (which asks restic and the logs of job) back into it.
//
// Children never import each other (job, what it runs, and restic excepted, which query asks too; fires knows cron, and delivery the errors of outbox and session): each says what it needs as an interface or a function, and the files
// here fill it in, one subject each: sets.go, commands.go, jobs.go, queries.go, diagnosis.go, repository.go, consent.go, export.go.
//
// # Consent
//
// What of a set the owner does not allow (agent.yaml) is told with its acknowledgement, and the set is applied all the same: only the backups that
// need it fail. The set in force is acknowledged again at the first connect of a process, since agent.yaml may have changed, and at each connect while
// something is refused. Whether a command may run is asked again right before it does.
//
// # Credentials
//
// The host's own is in the vault, and is asked for at each attempt of a job, so that a rotated one is used by the next. What travels with a command stays
// sealed in memory until restic needs it, and is gone with the job; it never reaches the disk. The repository's former credential is kept in the vault until
// a run or look with the present one opened the repository.
//
// # A removed Host
//
// A tombstone ends the work: before it is acknowledged, jobs that wait are cancelled and nothing is accepted any more (sets.go). A job that runs goes on. The process stays,
// looks rarely for its Host, and works again as soon as a set comes. A set of another Host object (hostUID) has the state of the repository told anew.
//
// # What a lying gateway can do
//
// It is believed about liveness, verdicts and acknowledgements, and about nothing else. A verdict for a fire that nobody asked about and
// an acknowledgement beyond what was sent in this session are ignored and logged; a set or command counts only under the
// controllers' signature, and so does a query of a person, whose answer it can cut off and not read. Refusals are reported at a bounded rate, so that a flood of forged commands does not fill the disk.
//
// # Locks
//
// Callbacks of the session come one at a time and do not wait for anything but the disk. Each file's type has its own mutex for its
// own fields. The order where two are held: repository, then delivery or status; delivery is also held while the outbox is used.
package agent
