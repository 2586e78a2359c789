package desired

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"slices"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
)

// offerOf is a published set as it travels. What somebody damaged is sent as it is: the agent refuses it in words, which people then see
// in the status. An error says that the set is over a limit of the wire.
func offerOf(set *v1alpha1.ScheduleSet) (*wire.SetOffer, error) {
	offer := &wire.SetOffer{Revision: set.Spec.Revision, Bundle: set.Spec.Bundle, Signatures: signaturesOf(set.Spec.Signatures),
		Credentials: credentialsOf(set.Spec.Credentials)}
	// Encoding checks every limit; better here, where it can be told, than in the writer.
	if _, err := wire.Encode("", offer); err != nil {
		return nil, err
	}
	return offer, nil
}

// runOf is a published command as it travels, with the same care.
func runOf(job *v1alpha1.HostJob) (*wire.CommandRun, error) {
	command := job.Status.Command
	run := &wire.CommandRun{JobID: wire.CommandID(string(job.UID)), Command: command.Document, Signatures: signaturesOf(command.Signatures),
		Credentials: credentialsOf(job.Status.Credentials)}
	if _, err := wire.Encode("", run); err != nil {
		return nil, err
	}
	return run, nil
}

// complete tells whether the credentials that a command names are published with it. That they are the right ones is for the agent to judge, and
// so is a command that does not parse.
func complete(job *v1alpha1.HostJob) bool {
	var command struct {
		Credentials []wire.CredentialHash `json:"credentials"`
	}
	if err := json.Unmarshal([]byte(job.Status.Command.Document), &command); err != nil {
		return true
	}
	for _, named := range command.Credentials {
		if !slices.ContainsFunc(job.Status.Credentials, func(c v1alpha1.SealedCredential) bool { return c.Name == named.Name }) {
			return false
		}
	}
	return true
}

func credentialsOf(in []v1alpha1.SealedCredential) []wire.SealedCredential {
	var out []wire.SealedCredential
	for _, c := range in {
		out = append(out, wire.SealedCredential{Name: c.Name, Sealed: decode(c.Sealed, wire.MaxSealed)})
	}
	return out
}

func signaturesOf(in []v1alpha1.Signature) []wire.Signature {
	out := make([]wire.Signature, 0, len(in))
	for _, s := range in {
		out = append(out, wire.Signature{KeyID: s.KeyID, Value: decode(s.Value, ed25519.SignatureSize)})
	}
	return out
}

// decode returns the bytes of a base64 text, or of the text itself where it is none.
func decode(text string, limit int) []byte {
	if value, err := base64.StdEncoding.DecodeString(text); err == nil {
		return value
	}
	return []byte(text)[:min(len(text), limit)]
}
