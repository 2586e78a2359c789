// Package browse shows what is in the backups of a machine: its snapshots, the files in them, where a file is, and what differs.
//
// # Use
//
//	b := &browse.Browser{Asker: asker, Terminal: t, Now: time.Now}
//	err := b.Snapshots(ctx, host, wire.SnapshotsQuery{}, terminal.FormatTable)
//
// # Internals
//
// Lists are written as they come, so that a tree of a million files takes no memory here; snapshots, few and sorted, are a table. A snapshot is chosen from the
// machine's own list (Choose, pure), unless its id is given in full enough a form for restic.
package browse
