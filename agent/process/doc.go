// Package process runs one program with its process group, so that both can be ended without hitting a stranger, and so that it dies with this process.
//
// # Use
//
//	p, err := process.Start(cmd)   // an error is that of cmd.Start
//	p.Signal(syscall.SIGTERM)      // to the whole group, as often as needed
//	<-p.Exited()                   // the program has ended; its group may live on
//	p.Signal(syscall.SIGKILL)      // what it left behind, where that may not live on
//	state := p.Reap()              // always, or a zombie and a thread stay
//
// Start sets cmd.SysProcAttr and does the waiting: the caller calls neither cmd.Start nor cmd.Wait. Output goes to *os.File, a pipe's end for one:
// for any other writer Reap waits until nobody holds the output any more.
//
// # A zombie
//
// A program that ended keeps its id, and with it that of its group, until it is reaped. So the end is waited for without reaping (WNOWAIT):
// between Exited and Reap signals still reach the rest of the group, and no other program can have got the id. After Reap Signal does nothing.
//
// Who started in the group and moved to another one is reached by no signal to the group. The program itself is signalled by its own id then; what it started and
// moved away (setsid) escapes.
//
// # A locked thread
//
// On Linux the program has a parent-death signal: the kernel kills it when its parent ends, however hard that end is. But it sends that signal when the *thread* that
// forked ends, not the process. Go ends threads when it likes, and that would kill a healthy program. So one goroutine, locked to its thread, starts the
// program and stays until it is reaped: the thread lives as long as the program or this process, whichever ends first. What the program started has no such
// signal. It ends when its pipes close, or with the unit's cgroup.
//
// # Trade-offs
//
// A thread for each program; there are few. Outside Linux there is no parent-death signal, so a program can outlive a parent that is killed hard; and the end is noticed by
// reaping, so between Exited and Reap the id of a group that is empty could belong to somebody else: keep that time short.
//
// # Locks
//
// One mutex, held while a signal is sent and while Reap begins. All methods may be called from several goroutines.
package process
