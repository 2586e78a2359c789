// Package dump runs the command whose output a backup keeps. It is the hidden subcommand `dump` of the agent's own program, started by restic:
//
//	restic backup --stdin-from-command --stdin-filename=shop.dump … -- restic-manager-agent dump --report-fd=3 -- pg_dump -Fc shop
//
// # Why not restic itself
//
// restic would start the command with RESTIC_PASSWORD and all other secrets in its environment; on a cancel it kills the direct child only, so that a
// `sh -c 'pg_dump | gzip'` lives on; an output that is empty becomes a snapshot; and of what the command prints to stderr the last lines can be lost, while one line of more
// than 64 KiB blocks it for ever. So Main stands between the two:
//
//   - The command gets PATH, LANG, HOME=/ and the RESTIC_MANAGER_* variables, nothing else; standard input is /dev/null, the folder is /. Descriptors beyond the standard ones
//     are closed to it: one may lead to restic's client certificate.
//   - Its output is passed on as it comes. Nothing is stored.
//   - It ends with exit code 0 only after the command did so and printed something. Then, and only then, restic makes a snapshot.
//
// # Exit codes
//
// The command's own; 128 + n when signal n ended it; ExitEmpty when it ended well and printed nothing; ExitNotFound or ExitNotStarted when it could not be started;
// ExitFailed when something else went wrong, ExitStopped when it was stopped; 64 for a wrong command line. A command may have the same codes by itself: the
// report tells them apart.
//
// # The report
//
// With --report-fd=N (N from 3), descriptor N gets JSON lines: {"line":"…"} for each line that the command wrote to stderr (at most MaxLine bytes of it), and last
// {"outcome":"Done|Empty|Failed|NotStarted|Stopped","message":"…"}. The descriptor passes through restic, which does not close it. Without the flag the same goes to
// stderr as text. agent/restic reads the report; it has the words of the outcome too, since it must not import this package. Its tests run both together.
//
// # Two processes
//
// restic kills its direct child without warning (SIGKILL, on SIGINT to itself), and whoever is killed so cannot clean up. So Main starts a second process of the same program, the
// guard, in a process group of its own, and does nothing but to hold a pipe to it, the lifeline, and to hand back its exit code. The guard starts the command, in another process
// group. When the lifeline closes, for whatever reason, the guard ends that group: SIGTERM, and after StopGrace SIGKILL. So the command with all that it started ends
//
//   - on a cancel of the job (restic kills Main),
//   - when somebody kills Main,
//   - when restic dies hard: the agent kills restic's process group, and Main looks each half second whether its parent is still there,
//   - when restic stops reading,
//   - when Main or the guard get SIGINT, SIGTERM or SIGHUP.
//
// When the guard itself is killed, the kernel kills the command (parent-death signal, on Linux), but not what the command started; the unit's cgroup does.
//
// A command that ends and leaves behind something that holds its output open is given LeftoverPatience, then that is killed and the dump has failed: nobody can tell whether it was
// complete. What a command starts in a session of its own (setsid) is not followed.
//
// Exit codes of a pipe in a shell are the shell's business: `sh -c 'false | gzip'` ends with 0. Use `bash -o pipefail -c '…'`.
package dump
