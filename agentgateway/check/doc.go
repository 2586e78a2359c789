// Package check looks at a gateway as a machine would: does its address answer, with a certificate that a machine would take, and with a session's first message?
//
// # Use
//
//	err := check.Once(ctx, check.Options{URL: "https://gateway.example.com", Address: "restic-manager-gateway.backup.svc:443", CA: pem})
//
// # Trade-offs
//
// It says hello to nobody: whether an enrolled machine is let in, only that machine can tell. Without CA the certificate is held to its name and validity, but not to
// an authority, since the trust store that counts is that of the machines.
package check
