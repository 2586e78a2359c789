// Package tlspin is the trust decision of whoever connects to a gateway: an agent, and a person's kubectl-restic.
//
// # Trust
//
// Without pins the machine's own trust store decides. With pins it does not count at all: the gateway must present a chain in which
// a certificate has a pinned public key ("sha256:" and the standard base64 of the SHA-256 of its SubjectPublicKeyInfo). When that is
// the leaf, the key itself is the proof, and name and validity of the certificate are not looked at (a pinned leaf is commonly
// self-signed). When it is a CA, the leaf must verify against that CA with name, validity and usage, as with any root. A server sends its
// root only when told to, so that a pinned root must be part of the chain that the gateway presents.
//
// Everything here is safe for concurrent use.
package tlspin
