// Package enroll makes a machine known to its Host: it reads a token, makes the machine's keys, proves to the gateway that it holds the
// token, and waits for the controllers' signed verdict.
//
// # Use
//
// Run does all of it; the caller says how to check and save the machine's configuration (Store), so that this package knows no file
// but its own. Every error is a *Failure whose text tells the person at the machine what to do; none holds any part of the token.
//
// # Nothing is lost on the way
//
// The token names one set of keys only, so that keys must survive an interruption: they are written to a pending file (0600) before the
// first request, and taken from there when the same token is given again. It is removed once the configuration is saved. What can fail
// on this machine is tried before the gateway is asked, since a token burnt for a configuration that cannot be written helps nobody.
//
// # Trust
//
// The gateway is not trusted: the verdict counts only under a signature by a key that stands in the token, for this host, this token
// and these keys. A gateway can refuse or delay an enrolment, and no more.
package enroll
