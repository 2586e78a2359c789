// Package signing keeps the controllers' signing key: what every agent trusts, and a compromised gateway must never have.
//
// # Use
//
//	keys, err := signing.LoadOrCreate(ctx, liveClient, operatorNamespace)
//	keys.Sign(document)          // *seal.Signer
//	keys.DigestKey()             // for the digests of credentials in a revision
//
// # Where the key lies
//
// In Secret restic-manager-signing-key of the operator's namespace, created at the first start. Each entry signing-*.pem is an Ed25519 key in
// PKCS#8 PEM; all of them sign and all are announced to the agents, so a key is rotated by adding the new one, waiting until
// every host has applied a set, and removing the old one. The program reads the Secret once, at its start.
//
// The Secret must outlive the operator: without it every machine has to be enrolled again. It has no owner and is not deleted with anything.
//
// Keys are immutable after loading and safe for concurrent use.
package signing
