// Package seal signs documents and seals credentials: Ed25519 signatures with key ids over exact bytes, and HPKE (RFC 9180, base
// mode, X25519 / HKDF-SHA256 / ChaCha20-Poly1305) to a machine's sealing key.
//
// It is used on both sides and never knows Secrets, files or Kubernetes. Keys are plain bytes in, plain bytes out; nothing here logs.
// Everything is safe for concurrent use.
package seal
