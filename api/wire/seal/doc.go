// Package seal signs documents and seals credentials: Ed25519 signatures with key ids over exact bytes, and HPKE (RFC 9180, base
// mode, X25519 / HKDF-SHA256 / ChaCha20-Poly1305) to a machine's sealing key.
//
// The chunks of an answer are sealed with ChaCha20-Poly1305 by a key that is exported from such a context: see docs/adr/0035.
//
// It is used on both sides and never knows Secrets, files or Kubernetes. Keys are plain bytes in, plain bytes out; nothing here logs.
// Everything is safe for concurrent use.
package seal
