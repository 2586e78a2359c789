// Package restic runs restic, and is the only place that knows its arguments, its environment, its output and its exit codes.
//
// # Use
//
//	binary, err := restic.Find(ctx, "")                    // $PATH; refuses what is older than 0.18; a Finder remembers it
//	runner := &restic.Runner{Binary: binary, Hostname: "shop/web-1", CacheDir: …, TempDir: …}
//	state, err := runner.Probe(ctx, repository, observer)  // Exists, Missing; a half-initialised one is an error
//	err = runner.Init(ctx, repository, observer)           // an existing repository is success
//	result, err := runner.Backup(ctx, restic.BackupOptions{…}, observer)
//	result, err := runner.Restore(ctx, restic.RestoreOptions{…}, observer)
//	result, err := runner.Forget(ctx, restic.ForgetOptions{…}, observer)  // one host's snapshots with one tag
//	result, err := runner.Prune(ctx, restic.PruneOptions{…}, observer)    // only with credentials that may delete
//	result, err := runner.Check(ctx, restic.CheckOptions{…}, observer)
//	removed, err := runner.Unlock(ctx, repository, observer)              // stale locks
//	snapshots, err := runner.Snapshots(…); bytes, err := runner.Stats(…)
//	err = runner.List(ctx, repository, id, each, observer); err = runner.ListFolder(…)
//	err = runner.Find(…); summary, err := runner.Diff(…); locks, err := runner.Locks(…)
//	err = runner.Dump(ctx, repository, id, path, w, observer); err = runner.DumpFolder(…)
//
// A file for each: backup.go, command.go (a command's output instead of files), restore.go with exactpaths.go, forget.go, prune.go, check.go, unlock.go, stats.go, list.go, find.go,
// diff.go, content.go (Dump), locks.go, commands.go (the rest). Below them run.go starts and ends a child, output.go and messages.go read it, classify.go names its failures.
//
// Every failure is an *Error with a Kind, and errors.Is works with the sentinels (ErrLocked, ErrWrongPassword, …). The message of an
// Error says what to do, and never holds a secret.
//
// # What is success
//
// Exit codes alone are not the truth, so each result is made from the exit code and the output together:
//
//   - A path that does not exist beside one that does makes restic 0.18 exit 0 and 0.19 exit 3; both give a BackupResult with
//     CompletedWithErrors and the path in Missing. When no path exists there is no snapshot: KindNothingToBackUp.
//   - Files that cannot be read are counted, and the first MaxNamed of them are named (Failures).
//   - A partial restore exits 1 with files_restored counting too much; it is told from its error lines, and gives a RestoreResult with
//     CompletedWithErrors when at least one file came back.
//   - A restore whose includes match nothing exits 0; it is KindNothingRestored here.
//   - A forget that an append-only server refused exits 0 in 0.18 and 3 in 0.19, and lists as removed what is still there; stderr tells. Refused counts
//     these, and the error is KindForgetRefused, unless the network broke down in the middle. 0.19 breaks down now and then over such refusals, by a race of its own, and tells nothing
//     of what it chose: the forget is run again.
//   - Exit code 2 is that of a Go program that broke down: KindCrashed.
//   - A prune that an append-only server refuses (KindUnauthorized) has uploaded repacked packs before, in both versions: it leaves more than it found. This package cannot tell which
//     credentials may delete, so not starting it is the caller's business. Without garbage it exits 0.
//   - A prune prints text even with --json. Its figures are read as restic rounds them; what is not understood is 0, and no failure.
//   - A check exits 1 and counts errors for damage, for a network that broke down while it read, and when it was stopped; and one error when it could not even begin (10, 11, 12).
//     KindDamaged needs a message about the repository's content. restic's advice among the messages is left out.
//   - A check without ReadDataSubset does not find a flipped bit in a file's content. n/t takes packs by the first byte of their name, so t is at most 256 and all n together read
//     everything once.
//   - 0.19 prints how many locks `unlock` removed only without --json, so it runs without. A lock of a dead process of this machine is stale at once.
//   - What a command's dump failed of is told by agent/dump beside restic (see there). Its failure, an empty output, a cancel and a kill leave no snapshot. A failure of restic's
//     own (a lock, the password, the network) counts more than what the command made of it.
//   - Cancelled is what we know (the context), not what restic says: its exit code is 0, 1 or 130.
//
// Includes of a backup are paths. restic does not expand globs in them, and neither does this package: a path with a glob that does not
// exist by that name is reported as missing, with a message that says so. Excludes are patterns.
//
// # Names of files
//
// Any name that is valid UTF-8 can be listed, dumped and restored by ExactPaths: with globs, blanks, line breaks, leading dashes and exclamation marks. ExactPaths are escaped, and
// passed in a file, where no other user sees them; but in such a file restic trims lines and expands $variables, so names that this would change are arguments. A name that is not
// valid UTF-8 is backed up and restored with its folder, but restic's JSON shows another (Node.Inexact), which nothing finds.
//
// # Locks
//
// While restic waits for somebody else's lock (Runner.RetryLock) it says nothing with --json: no event tells it. Probe, Snapshots, Stats, List, Find, Diff, Locks and Dump take no lock. They work while
// another one prunes, or fail then, and are never wrong: all that they read is verified. Forget, Prune and Check lock everybody else out.
//
// # How a run works
//
// The environment is built from nothing: the variables that the repository's backend needs and may have (environment.go), plus TMPDIR,
// HOME and RESTIC_PROGRESS_FPS. The repository URL and the password are passed by environment, never as arguments, which every user of
// the machine can read. A client certificate with its key comes through a pipe (--tls-client-cert=/proc/self/fd/N), which restic reads once at its start; it
// lies on no disk, and nothing is left for the programs that restic starts. Files that a run needs (the CA bundle, patterns, packs in the making) lie in a folder of its own below
// Runner.TempDir, mode 0700, removed when it ends; so does the cache that a check makes for itself. RemoveLeftovers clears what a killed agent left behind.
//
// Both pipes are read apart and to the end by one goroutine each, in lines of at most MaxLine bytes (the rest is cut off). What they say goes to
// the Observer through a bounded queue on a third goroutine. A slow observer loses lines (it is told how many), a panicking
// one is not called again, and neither ever blocks restic.
//
// The child is the leader of its own process group and dies with the agent, even when the agent is killed hard (agent/process says how). When it has ended, what is
// left of its group is killed. Children of restic (ssh, rclone) do not die with the agent so: they end when their pipes to restic close, or with the unit's cgroup.
//
// # Stopping
//
// Cancelling the context sends SIGINT to the process group; after Runner.Grace SIGKILL follows, and then `restic unlock` clears the lock
// that a killed restic leaves. The default grace is 65 s since restic itself gives up on removing its lock after 60 s
// when the server is gone. A bandwidth limit counts too: restic ends after the pack that it is sending (16 MiB), which takes its time at a low rate.
//
// restic retries an unreachable repository for about 14 minutes. Each attempt is a Retry event within seconds; when nothing but
// retrying was seen for Runner.UnreachableAfter the run is stopped and KindUnreachable returned. A certificate that does not verify
// is not cured by retrying: such a run is stopped at the third attempt with KindTLS. (A server that misses a client certificate shows as either, by turns, with TLS 1.3.)
// `check` of 0.19 wraps these notices into JSON.
//
// # Concurrency
//
// A Runner has no mutable state; its methods may be called from several goroutines. Whether two runs against one
// repository make sense is the caller's business (agent/job queues them).
package restic
