// Package outbox keeps durable reports on disk, in order, until the gateway has acknowledged them.
//
// # Use
//
// Open the folder once per process. Add gives a report its id and returns when it is safe on disk; only then may the job that it
// tells of be forgotten. The sender reads with Next, wakes up on Changed, and passes every acknowledgement to Ack, which is
// cumulative. Reports that were sent and not acknowledged are read again after a reconnect: delivery is at least once, and the
// receiver tells repetitions by their id.
//
// # Internals
//
// One file per report, named by its sequence number, holding the message's frame and its checksum; outbox.json holds the epoch and
// the number through which everything was acknowledged. The next number is one more than the greatest that is witnessed by outbox.json
// or by a file name, so that no number is ever used twice in an epoch. Ack therefore writes outbox.json first and removes files after.
//
// A machine that is rolled back to a snapshot gives numbers out again that stand for other reports at the gateway, which would then
// acknowledge the new ones as repeated and store nothing. So the epoch is random, and a new one begins with each report that is added to
// an empty outbox, which is drawn after the snapshot was taken; and with NewEpoch, which the caller uses when the gateway's
// record shows that the disk went back, for the reports that were waiting in the snapshot. The epoch in outbox.json is the one that
// counts, for all reports; numbers grow on through all epochs.
//
// A file that cannot be read as what was written is set aside (renamed to *.corrupt, the newest of them are kept), told in the
// log, and never blocks the others. When outbox.json itself is damaged, the epoch is taken from the reports that remain.
//
// # Trade-offs
//
// The outbox is bounded by Options.MaxBytes. On the way to that bound, states of the repository are merged, and listings of its
// snapshots (only the newest matters), then log tails of the oldest results are left out (the whole log lies in the machine's log folder). A result itself is
// never dropped: Add returns ErrFull, or the file system's error when the disk is full, and the caller keeps the report in memory
// and tries again.
//
// # Locks
//
// One mutex guards the index and the folder. All methods are safe for concurrent use; they hold the lock over disk writes, because
// the order of reports is the order of their numbers. Two processes must not share a folder: the agent's lock file sees to that.
package outbox
