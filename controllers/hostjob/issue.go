package hostjob

import (
	"encoding/base64"
	"fmt"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/api/wire/seal"
	"github.com/restic-manager/restic-manager/controllers/credentials"
	"github.com/restic-manager/restic-manager/controllers/internal/convert"
)

// Signer signs the exact bytes of a document with every key in force.
type Signer interface {
	Sign(document string) []wire.Signature
	// Signed tells whether all these keys have signed it.
	Signed(document string, signatures []wire.Signature) bool
	// DigestKey is for keyed digests of credentials.
	DigestKey() []byte
}

// credential is what was read from the Secret that a job needs, or why it was not.
type credential struct {
	plain credentials.Plain
	url   string
	err   error
}

// issue puts a command into the status of a Pending job, with the credentials that it needs and no others; nil takes all of them out. What says the same already stays as it is:
// each sealing gives other bytes, so a new one is made only when the command or the Secret changed.
func (r *Reconciler) issue(seen facts, command *wire.JobCommand) error {
	now := &seen.job.Status
	if command == nil {
		now.Command = nil
		withdrawCredentials(now)
		return nil
	}
	name := command.Repository.Credential
	if name == wire.CredentialRepository {
		document, err := wire.EncodeDocument(command)
		if err != nil {
			return err
		}
		now.Command = r.sign(document, now.Command)
		withdrawCredentials(now)
		return nil
	}
	// The job's UID is in the key, so that equal digests do not tell which repositories have the same credentials.
	digest := seen.credential.plain.Digest(append(r.Signer.DigestKey(), seen.job.UID...))
	if r.holds(now, *command, digest) {
		return nil
	}
	identity, err := identityOf(seen.host)
	if err != nil {
		return err
	}
	sealed, err := seen.credential.plain.Seal(convert.Ref(seen.host), *identity, name)
	if err != nil {
		return fmt.Errorf("sealing credentials to Host %s: %w", seen.host.Name, err)
	}
	command.Credentials = hashes(name, sealed.Sealed)
	document, err := wire.EncodeDocument(command)
	if err != nil {
		return err
	}
	now.Command = r.sign(document, nil)
	now.Credentials = []v1alpha1.SealedCredential{{Name: name, Sealed: base64.StdEncoding.EncodeToString(sealed.Sealed)}}
	now.CredentialsDigest = digest
	return nil
}

func withdrawCredentials(status *v1alpha1.HostJobStatus) {
	status.Credentials, status.CredentialsDigest = nil, ""
}

// holds tells whether a status has this command, signed by us, with credentials that we sealed from the same Secret. The gateway may write this status too: its own blob would
// not be the one whose hash we signed.
func (r *Reconciler) holds(now *v1alpha1.HostJobStatus, command wire.JobCommand, digest string) bool {
	if now.CredentialsDigest != digest || len(now.Credentials) != 1 || now.Credentials[0].Name != command.Repository.Credential {
		return false
	}
	sealed, err := base64.StdEncoding.DecodeString(now.Credentials[0].Sealed)
	if err != nil {
		return false
	}
	command.Credentials = hashes(command.Repository.Credential, sealed)
	document, err := wire.EncodeDocument(&command)
	return err == nil && r.signed(now.Command, document)
}

func hashes(name string, sealed []byte) []wire.CredentialHash {
	return []wire.CredentialHash{{Name: name, SHA256: seal.Hash(sealed)}}
}

// sign keeps a document that says the same already.
func (r *Reconciler) sign(document string, present *v1alpha1.SignedDocument) *v1alpha1.SignedDocument {
	if r.signed(present, document) {
		return present
	}
	return &v1alpha1.SignedDocument{Document: document, Signatures: convert.Signatures(r.Signer.Sign(document))}
}

// signed tells whether a document stands in a status, signed by every key in force.
func (r *Reconciler) signed(present *v1alpha1.SignedDocument, document string) bool {
	if present == nil || present.Document != document {
		return false
	}
	signatures, err := convert.WireSignatures(present.Signatures)
	return err == nil && r.Signer.Signed(document, signatures)
}
