package host

import (
	"crypto/hmac"
	"time"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
)

// maxFailedAttempts is how many wrong proofs make a token void.
const maxFailedAttempts = 5

// enrolmentFacts are what the next step of an enrolment is decided from.
type enrolmentFacts struct {
	// pinned says that spec.identity is set, identityHash is its hash, and enrolledWith the annotation written with it.
	pinned       bool
	identityHash string
	enrolledWith string
	// asked is the value of the annotation that asks for a token.
	asked    string
	recorded *v1alpha1.EnrollmentStatus
	request  *enrolmentRequest
	// token is the one in the Secret, nil for none. It is only read when needsToken says so.
	token *wire.Token
	// stale says that the Secret holds the lines of another installer.
	stale   bool
	hostUID string
	now     time.Time
}

// enrolmentRequest is a well-formed request of a machine.
type enrolmentRequest struct {
	tokenIDHash string
	identity    *wire.Identity
	proof       []byte
}

// enrolmentStep is what an enrolment needs next.
type enrolmentStep string

const (
	// stepNone: nothing to do before something changes.
	stepNone enrolmentStep = ""
	// stepMint: make a token, or publish the one that an interrupted reconciliation made.
	stepMint enrolmentStep = "Mint"
	// stepRewrite: put the lines of today's installer beside the token.
	stepRewrite enrolmentStep = "Rewrite"
	// stepApprove: pin the keys of the request.
	stepApprove enrolmentStep = "Approve"
	// stepFinish: the keys are pinned by the open token: burn it and sign the verdict.
	stepFinish enrolmentStep = "Finish"
	// stepConfirm: who was enrolled asks again, and the verdict is gone: sign it once more.
	stepConfirm enrolmentStep = "Confirm"
	// stepRefuse: sign the verdict that the proof is wrong; stepRefuseExpired that the token was too old.
	stepRefuse        enrolmentStep = "Refuse"
	stepRefuseExpired enrolmentStep = "RefuseExpired"
	// stepVoid: too many wrong proofs: burn the token.
	stepVoid enrolmentStep = "Void"
	// stepRemoveExpired: take the expired token's Secret away. Status keeps the hash, so that its user can be told.
	stepRemoveExpired enrolmentStep = "RemoveExpired"
)

// needsToken tells whether the Secret has to be read before deciding.
func (f *enrolmentFacts) needsToken() bool { return f.open() != "" || f.wantsToken() }

// open is the hash of the token that a machine may use now.
func (f *enrolmentFacts) open() string {
	if f.recorded == nil {
		return ""
	}
	return f.recorded.TokenIDHash
}

// wantsToken tells whether a token is to be minted that was not before.
func (f *enrolmentFacts) wantsToken() bool {
	switch {
	case f.recorded == nil:
		return !f.pinned || f.asked != ""
	case f.asked != "" && f.asked != f.recorded.MintedFor:
		return true
	}
	// The identity that a token had pinned was taken out of the spec.
	return !f.pinned && f.recorded.TokenIDHash == "" && f.recorded.UsedTokenIDHash != "" && f.recorded.FailedAttempts < maxFailedAttempts
}

// next decides the step.
func (f *enrolmentFacts) next() enrolmentStep {
	open := f.open()
	switch {
	case open != "" && f.pinned && f.enrolledWith == open:
		return stepFinish
	case f.wantsToken():
		return stepMint
	case f.unconfirmed():
		return stepConfirm
	case open == "":
		return stepNone
	case f.recorded.FailedAttempts >= maxFailedAttempts:
		return stepVoid
	case f.expired():
		return f.nextExpired()
	case !f.holdsOpen():
		return stepMint // its Secret was deleted or changed
	case f.stale:
		return stepRewrite
	case f.request == nil || f.request.tokenIDHash != open:
		return stepNone
	case f.proven():
		return stepApprove
	case f.answered():
		return stepNone
	}
	return stepRefuse
}

func (f *enrolmentFacts) nextExpired() enrolmentStep {
	switch {
	case f.request != nil && f.request.tokenIDHash == f.open() && !f.answered():
		return stepRefuseExpired
	case f.token != nil:
		return stepRemoveExpired
	}
	return stepNone
}

// unconfirmed tells whether the machine that the annotation speaks of waits for its verdict.
func (f *enrolmentFacts) unconfirmed() bool {
	return f.request != nil && f.pinned && f.enrolledWith == f.request.tokenIDHash && f.identityHash == f.request.identity.Hash() && !f.answered()
}

// holdsOpen tells whether the Secret holds the open token.
func (f *enrolmentFacts) holdsOpen() bool {
	return f.token != nil && f.token.HostUID == f.hostUID && wire.TokenIDHash(f.token.ID) == f.open()
}

// expired trusts the Secret where there is one: status is written by the gateway too.
func (f *enrolmentFacts) expired() bool {
	if f.holdsOpen() {
		return !f.now.Before(f.token.NotAfter)
	}
	return f.recorded.ExpiresAt != nil && !f.now.Before(f.recorded.ExpiresAt.Time)
}

// proven tells whether who asked has the secret of the token.
func (f *enrolmentFacts) proven() bool {
	want := wire.EnrolProof(f.token.Secret, f.hostUID, f.token.ID, *f.request.identity)
	return hmac.Equal(want, f.request.proof)
}

// answered tells whether the recorded verdict is about this request. A verdict that the gateway made up keeps a machine from its answer, which the
// gateway can do anyway; it never keeps a right proof from being seen.
func (f *enrolmentFacts) answered() bool {
	if f.recorded == nil || f.recorded.Verdict == nil {
		return false
	}
	verdict, err := wire.ParseEnrolVerdict(f.recorded.Verdict.Document)
	return err == nil && verdict.TokenIDHash == f.request.tokenIDHash && verdict.IdentityHash == f.request.identity.Hash()
}
