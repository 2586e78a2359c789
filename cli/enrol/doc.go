// Package enrol takes a machine from nothing to its first backup: the Host, the line to paste, and then each step as it is done.
//
// # Use
//
//	err := (&enrol.Enroller{Client: c, Terminal: t, Clock: clock}).Run(ctx, enrol.Request{…})
//
// # Internals
//
// Steps is pure: it reads from a Host which steps are done, and what the first one that is not waits for. Run prints what is new of it whenever the Host changes.
//
// The line to paste holds a token, and the htpasswd line a hash of a password: both are printed because the person asked for them, and nowhere else. The hash is SHA-1,
// which rest-server reads and which is enough for 256 random bits; a password that people chose would need bcrypt.
package enrol
