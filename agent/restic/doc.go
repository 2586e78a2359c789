// Package restic runs restic, and is the only place that knows its arguments, its environment, its output and its exit codes.
//
// # Use
//
//	binary, err := restic.Find(ctx, "")                    // $PATH; refuses what is older than 0.18
//	runner := &restic.Runner{Binary: binary, Hostname: "shop/web-1", CacheDir: …, TempDir: …}
//	state, err := runner.Probe(ctx, repository, observer)  // Exists, Missing; a half-initialised one is an error
//	err = runner.Init(ctx, repository, observer)           // an existing repository is success
//	result, err := runner.Backup(ctx, restic.BackupOptions{…}, observer)
//	result, err := runner.Restore(ctx, restic.RestoreOptions{…}, observer)
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
//   - Cancelled is what we know (the context), not what restic says: its exit code is 0, 1 or 130.
//
// Includes of a backup are paths. restic does not expand globs in them, and neither does this package: a path with a glob that does not
// exist by that name is reported as missing, with a message that says so. Excludes are patterns.
//
// # How a run works
//
// The environment is built from nothing: the variables that the repository's backend needs and may have (environment.go), plus TMPDIR,
// HOME and RESTIC_PROGRESS_FPS. The repository URL and the password are passed by environment, never as arguments, which every user of
// the machine can read. Files that a run needs (the CA bundle, packs in the making) lie in a folder of its own below
// Runner.TempDir, mode 0700, removed when it ends. RemoveLeftovers clears what a killed agent left behind.
//
// Both pipes are read apart and to the end by one goroutine each, in lines of at most MaxLine bytes (the rest is cut off). What they say goes to
// the Observer through a bounded queue on a third goroutine. A slow observer loses lines (it is told how many), a panicking
// one is not called again, and neither ever blocks restic.
//
// The child is the leader of its own process group and is started from a locked OS thread with a parent-death signal, so that it dies
// with the agent even when the agent is killed hard (process_linux.go says why the thread matters).
//
// # Stopping
//
// Cancelling the context sends SIGINT to the process group; after Runner.Grace SIGKILL follows, and then `restic unlock` clears the lock
// that a killed restic leaves. The default grace is 65 s since restic itself gives up on removing its lock after 60 s
// when the server is gone. A bandwidth limit counts too: restic ends after the pack that it is sending (16 MiB), which takes its time at a low rate.
//
// restic retries an unreachable repository for about 14 minutes. Each attempt is a Retry event within seconds; when nothing but
// retrying was seen for Runner.UnreachableAfter the run is stopped and KindUnreachable returned. A certificate that does not verify
// is not cured by retrying: such a run is stopped at the third attempt with KindTLS.
//
// # Concurrency
//
// A Runner has no mutable state; its methods may be called from several goroutines. Whether two runs against one
// repository make sense is the caller's business (agent/job queues them).
package restic
