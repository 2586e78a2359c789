package hostquery

import (
	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/controllers/internal/convert"
)

// Signer signs the exact bytes of a document with every key in force.
type Signer interface {
	Sign(document string) []wire.Signature
	// Signed tells whether all these keys have signed it.
	Signed(document string, signatures []wire.Signature) bool
}

// issue puts a command into a status, with the place where its answer is collected; nil takes both out. What says the same already stays as it is.
func (r *Reconciler) issue(now *v1alpha1.HostQueryStatus, command *wire.HostQuery) error {
	if command == nil {
		now.Command, now.Gateway = nil, nil
		return nil
	}
	document, err := wire.EncodeDocument(command)
	if err != nil {
		return err
	}
	now.Gateway = new(r.Gateway())
	if !r.signed(now.Command, document) {
		now.Command = &v1alpha1.SignedDocument{Document: document, Signatures: convert.Signatures(r.Signer.Sign(document))}
	}
	return nil
}

// signed tells whether a document stands in a status, signed by every key in force.
func (r *Reconciler) signed(present *v1alpha1.SignedDocument, document string) bool {
	if present == nil || present.Document != document {
		return false
	}
	signatures, err := convert.WireSignatures(present.Signatures)
	return err == nil && r.Signer.Signed(document, signatures)
}
