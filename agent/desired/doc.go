// Package desired decides which schedule set is in force on this machine, and whether a signed command may be obeyed.
//
// # Use
//
// Open loads the set that was in force before the restart and verifies it again. Offer judges a set that the gateway brings and
// answers with the acknowledgement to send. Current, Trusted, TLSPins and the applied revision tell what is in force; Changed wakes
// those who depend on it. VerifyCommand and VerifyCancel judge commands; they know nothing of jobs that ran before, which is the
// job ledger's part.
//
// The rules, in order: a signature by a key that the set in force trusts (the keys of agent.yaml while there is none); the text
// parses and is valid; it is made for this host, and for this machine's keys; its serial is not below the floor of the enrolment, not
// below that of the set in force, and not the same with another content; the set is signed by one of the keys that it names itself,
// so that no set locks out its own author; each credential that it names travels with it, has the hash that was signed, and opens with this
// machine's key, and no other credential travels along. The same holds of the credentials of a command, which are opened at the moment of their
// use and stay sealed in memory until then: they (of whoever may delete, or of another host's repository) are never stored. The first rule that is broken is the refusal's reason; the set in force stays
// in force.
//
// # Internals
//
// schedule-set.json holds the offer as it came (the signed text, signatures and sealed credentials) and the gateway pins in force, under a MAC whose key
// is derived from the machine's sealing key. The MAC is what makes the file this machine's own: after a rotation the keys that once
// vouched for the set are gone, so at start the set is checked against the keys that it names, and only a set that this machine
// accepted carries the MAC. A file that fails any check is left as it is, told by Problem, and no set is in force until the gateway
// brings one.
//
// Because the file holds the sealed credentials too, it alone decides: it is written first, the vault is filled from it next, then
// the set is in force. A crash or a full disk in between is repaired at the next start or offer by filling the vault again. A
// tombstone is written without credentials and clears the vault, unless it says to keep what may be the only copy of a password; it stays in force, so that an
// older set cannot come back.
//
// # Trade-offs
//
// Somebody who is root on the machine can put back an older schedule-set.json of this same machine; the gateway replaces it at the
// next connect. When the file is lost, the keys of agent.yaml are trusted again; a machine whose controllers have since dropped those
// keys needs to enrol again.
//
// # Locks
//
// One mutex serialises offers and start; a second guards what is in force, so that readers never wait for a disk. A reader that needs
// the set and a credential together takes the set first; jobs treat a credential that does not fit as an authentication failure.
package desired
