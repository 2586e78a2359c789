package desired

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
)

// offerOf is a published set as it travels. What somebody damaged is sent as it is: the agent refuses it in words, which people then see
// in the status. An error says that the set is over a limit of the wire.
func offerOf(set *v1alpha1.ScheduleSet) (*wire.SetOffer, error) {
	offer := &wire.SetOffer{Revision: set.Spec.Revision, Bundle: set.Spec.Bundle, Signatures: signaturesOf(set.Spec.Signatures),
		Credentials: credentialsOf(set.Spec.Credentials)}
	if err := sendable(offer, len(offer.Bundle), offer.Signatures, offer.Credentials); err != nil {
		return nil, err
	}
	return offer, nil
}

// runOf is a published command as it travels, with the same care.
func runOf(job *v1alpha1.HostJob) (*wire.CommandRun, error) {
	command := job.Status.Command
	run := &wire.CommandRun{JobID: wire.CommandID(string(job.UID)), Command: command.Document, Signatures: signaturesOf(command.Signatures),
		Credentials: credentialsOf(job.Status.Credentials)}
	if err := sendable(run, len(run.Command), run.Signatures, run.Credentials); err != nil {
		return nil, err
	}
	return run, nil
}

const (
	// widest is how many bytes of JSON a byte of text takes at most, as in \u0000; in base64 it is less.
	widest = 6
	// aside is more than what the JSON of a message takes beside its text, and that of each thing in its lists; a name that is valid is text of MaxName.
	aside = widest*wire.MaxName + 256
)

// sendable checks every limit of the wire; better here, where it can be told, than in the writer. What is certain to fit in a frame is not encoded for it.
func sendable(m wire.Message, document int, signatures []wire.Signature, credentials []wire.SealedCredential) error {
	size := widest*document + aside*(1+len(signatures)+len(credentials))
	for _, s := range signatures {
		size += widest * len(s.Value)
	}
	for _, c := range credentials {
		size += widest * len(c.Sealed)
	}
	if size > wire.MaxFrame {
		_, err := wire.Encode("", m)
		return err
	}
	if err := m.Validate(); err != nil {
		return fmt.Errorf("%s: %w", m.MessageType(), err)
	}
	return nil
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
