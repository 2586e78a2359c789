// Package webhook judges objects while they are being written: what would never work is refused at once, with the field and what to write instead; what
// does not work yet is a warning.
//
// # Use
//
//	err := webhook.Setup(mgr, webhook.Options{Namespace: …, BindAddress: ":9443", Names: …, Configuration: "restic-manager"})
//
// It serves on every replica, whoever leads. config/webhook tells the API server about it.
//
// # What is refused
//
// The rules are those of the reconcilers (compile.CheckSchedule, CheckGroup, CheckRetention, CheckHost, maintenance.Problems, resticenv.Backend): there is
// no second set of them. Here they only become field errors.
//
//   - Everything in a new object that cannot work, whatever else there is.
//   - In a change only what it makes worse: what was wrong before, by the same field and message, is told as a warning. So an object from before the
//     webhook can still be suspended, labelled or deleted, and the controllers can still pin a machine's keys in its Host.
//   - The deletion of a SourceGroup that Schedules name. What cannot be held up passes: see deletion.go.
//
// # What is a warning
//
// Names and selectors that choose nothing (yet). The cache answers first; before anything is told, or a deletion refused, the API server is asked, since the
// cache may not have seen what the same person did a moment ago.
//
// # It fails open
//
// Whoever has no answer lets pass: the webhook configuration ignores one that is down or slow, and here every request that cannot be read or looked up is
// allowed and logged. Conditions tell later what nobody told at apply time.
//
// # Trade-offs
//
// The API server shows no client certificate by default, so whoever reaches the port may ask. The answers tell names of objects in a namespace; questions cost
// reads, which have a rate limit of their own, so that they starve no reconciler.
//
// Certificates are the business of package certs, or of files that somebody else writes.
//
// Nothing here holds state or locks.
package webhook
