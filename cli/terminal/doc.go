// Package terminal is how the plugin speaks to a person: tables that fit the width, sizes and times that can be read, colours where they are wanted, questions, and
// what Ctrl-C means at the moment.
//
// # Use
//
//	t := terminal.New(streams)
//	t.Table(terminal.Table{Columns: …, Rows: …})
//	yes, err := t.Confirm(ctx, "Restore 12 files?")
//
// # Internals
//
// A pipe gets what is meant for a program or a file: no colours (nor with NO_COLOR, or TERM=dumb), no cuts, no bars. On a terminal that is too narrow a table gives up
// its least important columns, and then cuts its last one.
//
// Text that a machine had a part in may hold escape sequences, with which a terminal could be made to show, and some to do, what nobody meant: control characters are
// shown as carets on a terminal.
package terminal
