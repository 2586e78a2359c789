// Package restore brings files back: onto the machine that they come from, onto another one, or to this terminal.
//
// # Use
//
//	r := &restore.Restorer{Client: c, Asker: asker, Terminal: t, Clock: clock}
//	err := r.OnMachine(ctx, restore.Request{Host: host, Paths: []string{"/etc/nginx"}})
//	err = r.ToFolder(ctx, request, "./restored")
//
// # Internals
//
// A snapshot is always chosen first, and named, so that nobody restores another one than he thinks. A restore on a machine is a HostJob: a dry run first, whose summary
// the person confirms, then the real one. Files for this terminal are a stream of the kind Content, sealed by the machine to this process, and unpacked by cli/untar,
// which writes nothing outside the folder.
//
// Check and Job are pure.
package restore
