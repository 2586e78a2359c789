// Package job creates HostJobs, shows how far they are, and cancels them.
//
// # Use
//
//	jobs, err := job.Plan(facts, job.Request{Kind: v1alpha1.HostJobBackup})
//	err = (&job.Watcher{Client: c, Terminal: t, Clock: clock}).Watch(ctx, jobs[0])
//
// # Internals
//
// Plan is pure: which groups a backup without --group means, and which machine executes maintenance. Meter makes rate and rest of the time from the progress
// that the gateway writes every ten seconds; lines and bars are made by pure functions of it. On a terminal the bar moves every second, elsewhere a line
// is written when something changed.
//
// While it watches, Ctrl-C is caught: a job goes on without its watcher, so that the person is asked what is meant.
package job
