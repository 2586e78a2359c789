// Package vault keeps a machine's credentials at rest: one encrypted file, opened with a key that is derived from the machine's own
// sealing key.
//
// # Use
//
// Open the file once per process; a missing file is an empty vault. Put replaces all credentials, Get opens one at the moment when a
// child process needs it, Clear takes everything away when the Host was removed. A file that does not open is a *DamagedError and is
// never overwritten: SetAside renames it, after which Open gives an empty vault that can be filled from the signed set again. Opening never
// writes, so that another process (export-credentials) may read beside the agent.
//
// When a set brings another credential for the same repository, the former stays as Previous until Confirm: a password that turns out to be
// mistyped, or was never added to the repository, must not be the only one left on the machine. Confirm takes a fingerprint of the credential
// that was seen to open the repository, since a run with the former one may end after the new one came.
//
// # Internals
//
// The file is a line that names the format, and AES-256-GCM over JSON with a random nonce; the line is authenticated too. The key is
// HKDF-SHA256 of the sealing private key under a label of its own, so that the file is of no use away from agent.yaml, and neither key tells
// anything about other uses of the sealing key. Writes are atomic and durable (package atomicfile), mode 0600.
//
// # Trade-offs
//
// Root on the machine holds both the key and the file: the vault protects backups, disk images and careless copies of the state
// folder, not the machine from its root. In memory the credentials stay encrypted between uses; Go cannot promise that a copy which
// was used is wiped.
//
// # Locks
//
// One read-write mutex; all methods are safe for concurrent use. Put and Clear hold it over the disk write, so that Get never
// answers with what could not be stored. Nothing in this package logs.
package vault
