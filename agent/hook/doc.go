// Package hook runs the commands of a machine's owner around a backup: each in a process group of its own, with a clean environment, a
// timeout, and its output line by line. It decides nothing: which hooks run, in which order, whether the machine allows them and what
// their failure means is the business of agent/job.
//
// # Use
//
//	runner := &hook.Runner{}
//	err := runner.Run(ctx, hook.Call{Name: "preBackup 1", Hook: h, Env: map[string]string{"RESTIC_MANAGER_HOST": "web-1"}, Output: log})
//	var failure *hook.Error // every error of Run is one
//
// # What a hook gets
//
// The words of its command as they are, without a shell; / as its folder; nothing on standard input; PATH, LANG, HOME=/ and what Call.Env holds,
// whose names all begin with RESTIC_MANAGER_. Nothing of the agent's own environment, and no secret of restic, reaches it: a hook
// that needs a password brings it along.
//
// # How it ends
//
// A hook has ended when the program itself has, whatever it left running in the background: a postBackup hook may start a service. What it leaves
// running and still holds the output is listened to for pipePatience, then the pipe is closed.
//
// At the timeout, and when the context ends, the whole process group gets SIGTERM. Once the program has ended and the output is closed, or after
// Runner.Grace, SIGKILL goes to what is left of the group, and to the program itself wherever it went. What it started in another process group or session escapes.
// The program dies with the agent, also when the agent is killed hard (agent/process); what it started does not then, and ends with the unit (its cgroup).
//
// # Bounds
//
// A line is cut at MaxLine bytes; after MaxLines lines the rest is read and left out, so that a chatty hook neither blocks nor fills
// the log. Bytes that are not UTF-8 and control characters are replaced.
//
// # Trade-offs
//
// The command is started by the path that was given, so who may write to a folder in that path can swap the program between the
// check of the machine's consent and its start: allow folders of root only.
//
// # Locks
//
// A Runner has no state, and may be used from several goroutines. Output is called from one goroutine, and never after Run has returned.
package hook
