package host

import (
	"fmt"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/controllers/internal/convert"
)

// verdict signs the answer to a machine that showed a token with some keys.
func (r *Reconciler) verdict(host *v1alpha1.Host, tokenIDHash, identityHash string, reason wire.EnrolReason, message string) (*v1alpha1.SignedDocument, error) {
	document, err := wire.EncodeDocument(&wire.EnrolVerdict{
		Label: wire.EnrolVerdictLabel, Host: convert.Ref(host), HostUID: string(host.UID), TokenIDHash: tokenIDHash, IdentityHash: identityHash,
		Approved: reason == wire.EnrolApproved, Reason: reason, Message: message, Time: r.Clock.Now().UTC(),
	})
	if err != nil {
		return nil, fmt.Errorf("enrolment verdict: %w", err)
	}
	return &v1alpha1.SignedDocument{Document: document, Signatures: convert.Signatures(r.Signer.Sign(document))}, nil
}

// approval is the verdict for keys that are pinned.
func (r *Reconciler) approval(host *v1alpha1.Host, tokenIDHash, identityHash string) (*v1alpha1.SignedDocument, error) {
	return r.verdict(host, tokenIDHash, identityHash, wire.EnrolApproved, "enrolled as "+convert.Ref(host).String())
}
