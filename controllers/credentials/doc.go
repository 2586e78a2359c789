// Package credentials reads credentials Secrets: the one reader of plaintext in the operator.
//
// # Use
//
//	plain, err := reader.Read(ctx, namespace, secretName, host.Spec.Repository.URL)
//	digest := plain.Digest(key)                              // for the revision
//	sealed, err := plain.Seal(hostRef, identity, wire.CredentialRepository)
//	admin, err := reader.ReadAdmin(ctx, namespace, adminSecretName, host.Spec.Repository.URL)   // admin.URL: by which it goes
//
// Plain cannot be printed, logged or marshalled; what leaves this package is sealed to a machine, or a keyed digest.
//
// # Which Secrets, and what of them
//
// Only Secrets with the label backup.restic-manager.io/credentials: "true" are read: else anyone who may edit a Host could have any
// Secret of the namespace sent to a machine of his own. The manager's cache holds no others, so one without the label looks
// as one that does not exist; a live read of its metadata, never of its data, tells the two apart.
//
// Keys are environment variables, and must be on the list of api/resticenv for the repository's backend. Every other key is an error and not
// ignored: a person who wrote it means something by it. Beside them may stand tls.crt and tls.key, a client certificate as in a Secret of type
// kubernetes.io/tls; both, and they must belong together.
//
// A Secret with admin credentials may hold RESTIC_REPOSITORY, the URL by which that access goes. It is taken out of the variables and judged as
// spec.repository.url is: it ends in a signed command, which everybody who may read HostJobs can read, so no password may be in it.
//
// Errors are *Problem: a condition reason and a sentence with the Secret, the key and the remedy. They never hold a value.
//
// A Plain is immutable and safe for concurrent use.
package credentials
