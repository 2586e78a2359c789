// Package drill proves that backups can be restored: it restores a random sample of files of the newest snapshot of each source group into
// a scratch folder, and compares them with what the snapshot holds and with the files on the machine.
//
// # Use
//
//	summary, err := drill.Run(ctx, runner, drill.Options{Repository: …, Verify: *command.Verify, ScratchDir: …, Observer: log})
//	outcome, reason, message := drill.Verdict(summary) // when err is nil
//
// An error means that the drill could not be carried through: the repository is locked, unreachable, does not open, the context ended, the
// disk is full. It says nothing about the backups, and the drill is worth repeating. What is wrong with the backups is in the summary.
//
// # How a group is drilled
//
// The newest snapshot by host and tag is listed as a stream, and a uniform sample of its regular files is kept (reservoir sampling): memory is bounded by the
// sample, whatever the size of the snapshot. The sample is restored in one run, and each restored file is hashed. Where the file on the machine has
// the size and time of modification of the snapshot's, it is compared with that first: equal content shows that the backup read the right thing and that the restore
// gives it back, and costs a read of the disk.
//
// Where there is no such file, or it differs, the hash is compared with that of `restic dump` of the same file, which takes another way through restic
// and tells who is right: a restore that writes the wrong thing fails; so does a snapshot that holds something else than the unchanged file. A live
// file that was changed since without its times telling (its inode changed after the snapshot) proves nothing, and is only noted.
//
// # Bounds
//
// MaxBytes, shared out evenly among the groups that are left, bounds what is restored; half of the free space bounds it too, so that a drill never
// fills the machine's disk. Files that do not fit into a group's share are not drawn. When none fits (one large database dump),
// the beginning of the smallest is read as a stream instead, without the disk. Files whose names are not UTF-8 are not drawn, since
// restic's output cannot name them.
//
// # The scratch folder
//
// Each run makes its own folder below ScratchDir, both mode 0700, and removes it whatever happens. RemoveLeftovers, at start-up, clears what a killed
// agent left.
//
// # Trade-offs
//
// A dump costs about a second (restic derives its key anew): a large sample of files that changed since the backup takes its time. Files that
// are drawn twice, as hard links, are restored twice.
//
// # Locks
//
// None: nothing is shared between runs. The Observer is called from Run's goroutine or from those of restic, never from both at once.
package drill
