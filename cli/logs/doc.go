// Package logs shows the log of a job: from its machine, or where that is away, the end of it that the cluster keeps.
//
// # Use
//
//	err := (&logs.Viewer{Asker: asker, Terminal: t}).Show(ctx, target, options)
//
// # Internals
//
// Find turns what the person named into a machine and a question. Nothing is held here beyond the line that is under way.
package logs
