// Package config reads and writes agent.yaml: who this machine is, whom it trusts, and what its owner allows.
//
// # Use
//
// Load gives a validated Config or an *Error that names the file, the line and what to do. Save writes it with mode 0600, whole or
// not at all. The file is written by `enroll` and edited by the machine's owner; the agent never changes it by itself: what the
// controllers may change (keys, pins, schedules) comes in signed sets and lies in the state directory.
//
// # Consent
//
// What the owner did not allow, nobody can have done on the machine, whatever the controllers sign:
//
//	allow:
//	  hooks:
//	    allowDirs: [/etc/restic-manager/hooks]   # programs in these folders alone; or deny, or allow
//	  commands: deny                             # likewise
//	  rclone: deny                               # or allow
//	  restore: [/srv]                            # where restores may write, beside the agent's own folder
//	  queries: deny                              # or allow
//
// Everything that does not stand there is denied. Allow.CheckHook and Allow.CheckCommand judge one command, with an error for its owner; they look at the
// file system at each call, so that the judgement right before a start is about what is there then. The arguments of a command are not judged: a
// program that does whatever its arguments say (a shell) does not belong into an allowed folder.
//
// # Trade-offs
//
// The file holds the machine's private keys, so that enrolment leaves one file to guard. Load refuses a file that others can read or
// that somebody else owns: its consent section decides what runs here as root.
//
// Unknown fields are errors, since a misspelt consent that is silently ignored looks like a broken product. A Config is a plain
// value without locks.
package config
