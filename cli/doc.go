// Package cli is the kubectl plugin kubectl-restic: its commands, and what they share.
//
// # Use
//
//	ctx, interrupts := terminal.NewInterrupts(ctx)
//	os.Exit(cli.Execute(ctx, cli.New(streams, interrupts), os.Args[1:]))
//
// # Internals
//
// A file for each command holds its flags and calls one of the packages below, which do not know cobra. App carries what all share: the kubeconfig's flags, the
// terminal, the clock; clients are made when a command first needs one, so that help and completion of flags work without a cluster.
//
//	kube      the API server: clients, waiting, names, errors in sentences
//	terminal  tables, figures, questions, Ctrl-C
//	moment    times that people write
//	query     questions to machines and their answers
//	browse    snapshots, files, differences
//	logs      logs of jobs
//	job       HostJobs: plan, watch, list, cancel
//	fleet     the state of many hosts
//	doctor    one host, link by link
//	restore   files back to a machine, or to this one
//	enrol     from nothing to the first backup
//
// # Exit codes
//
// 0: done, and of status: all is well. 1: a job did not succeed, something is not current, a link is broken. 2: the command could not do its work. 130: Ctrl-C.
package cli
