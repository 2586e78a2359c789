package host

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/controllers/internal/convert"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const hostUID = "uid-1"

func tokenFor(id string) *wire.Token {
	return &wire.Token{
		URL: "https://gateway.example.com", Host: wire.HostRef{Namespace: "shop", Name: "web-1"}, HostUID: hostUID,
		ID: id, Secret: make([]byte, wire.TokenSecretSize), NotAfter: noon.Add(time.Hour),
	}
}

func machine(seed byte) *wire.Identity {
	identity := &wire.Identity{SigningKey: make([]byte, 32), SealingKey: make([]byte, 32)}
	identity.SigningKey[0], identity.SealingKey[0] = seed, seed
	identity.SealingKey[1] = 1 // the X25519 keys 0 and 1 are none to which anything can be sealed
	return identity
}

func request(token *wire.Token, identity *wire.Identity) *enrolmentRequest {
	return &enrolmentRequest{
		tokenIDHash: wire.TokenIDHash(token.ID), identity: identity, proof: wire.EnrolProof(token.Secret, hostUID, token.ID, *identity),
	}
}

func wrongly(r *enrolmentRequest) *enrolmentRequest {
	r.proof = make([]byte, 32)
	return r
}

func openToken(token *wire.Token, change ...func(*v1alpha1.EnrollmentStatus)) *v1alpha1.EnrollmentStatus {
	e := &v1alpha1.EnrollmentStatus{TokenIDHash: wire.TokenIDHash(token.ID), ExpiresAt: &metav1.Time{Time: token.NotAfter}}
	for _, c := range change {
		c(e)
	}
	return e
}

func verdictAbout(r *enrolmentRequest, reason wire.EnrolReason) *v1alpha1.SignedDocument {
	document, err := wire.EncodeDocument(&wire.EnrolVerdict{
		Label: wire.EnrolVerdictLabel, Host: wire.HostRef{Namespace: "shop", Name: "web-1"}, HostUID: hostUID, TokenIDHash: r.tokenIDHash,
		IdentityHash: r.identity.Hash(), Approved: reason == wire.EnrolApproved, Reason: reason, Time: noon,
	})
	if err != nil {
		panic(err)
	}
	return &v1alpha1.SignedDocument{Document: document}
}

func TestNextStepOfAnEnrolment(t *testing.T) {
	token, other := tokenFor("t1"), tokenFor("t2")
	hash := wire.TokenIDHash(token.ID)
	refused := func(e *v1alpha1.EnrollmentStatus) {
		e.FailedAttempts, e.Verdict = 1, verdictAbout(request(token, machine(1)), wire.EnrolWrongProof)
	}
	tests := []struct {
		name  string
		facts enrolmentFacts
		want  enrolmentStep
	}{
		{"a new Host gets a token", enrolmentFacts{}, stepMint},
		{"a new Host with its identity in Git gets none", enrolmentFacts{pinned: true}, stepNone},
		{"unless somebody asks", enrolmentFacts{pinned: true, asked: "now"}, stepMint},
		{"an open token waits for its machine", enrolmentFacts{recorded: openToken(token), token: token}, stepNone},
		{"a request for another token is none", enrolmentFacts{recorded: openToken(token), token: token, request: request(other, machine(1))}, stepNone},
		{"a right proof is approved", enrolmentFacts{recorded: openToken(token), token: token, request: request(token, machine(1))}, stepApprove},
		{"a wrong proof is refused", enrolmentFacts{recorded: openToken(token), token: token, request: wrongly(request(token, machine(1)))}, stepRefuse},
		{"and not twice", enrolmentFacts{recorded: openToken(token, refused), token: token, request: wrongly(request(token, machine(1)))}, stepNone},
		{"a wrong proof for other keys is another one", enrolmentFacts{recorded: openToken(token, refused), token: token, request: wrongly(request(token, machine(2)))}, stepRefuse},
		{"the right proof for keys that were refused is approved", enrolmentFacts{recorded: openToken(token, refused), token: token, request: request(token, machine(1))}, stepApprove},
		{"a proof for another Host of this name is wrong", enrolmentFacts{recorded: openToken(token), token: token,
			request: &enrolmentRequest{tokenIDHash: hash, identity: machine(1), proof: wire.EnrolProof(token.Secret, "uid-2", token.ID, *machine(1))}}, stepRefuse},
		{"a proof for swapped keys is wrong", enrolmentFacts{recorded: openToken(token), token: token,
			request: &enrolmentRequest{tokenIDHash: hash, identity: machine(1), proof: wire.EnrolProof(token.Secret, hostUID, token.ID, *machine(2))}}, stepRefuse},
		{"the fifth wrong proof makes the token void", enrolmentFacts{token: token, request: request(token, machine(1)),
			recorded: openToken(token, func(e *v1alpha1.EnrollmentStatus) { e.FailedAttempts = 5 })}, stepVoid},
		{"a void token stays void", enrolmentFacts{recorded: &v1alpha1.EnrollmentStatus{FailedAttempts: 5}}, stepNone},
		{"until somebody asks", enrolmentFacts{asked: "now", recorded: &v1alpha1.EnrollmentStatus{FailedAttempts: 5}}, stepMint},
		{"keys pinned by the open token burn it", enrolmentFacts{pinned: true, enrolledWith: hash, recorded: openToken(token), token: token}, stepFinish},
		{"also when its Secret is gone already", enrolmentFacts{pinned: true, enrolledWith: hash, recorded: openToken(token)}, stepFinish},
		{"also when it has expired meanwhile", enrolmentFacts{pinned: true, enrolledWith: hash, recorded: openToken(token), token: token, now: noon.Add(2 * time.Hour)}, stepFinish},
		{"an annotation without keys pins nothing", enrolmentFacts{enrolledWith: hash, recorded: openToken(token), token: token}, stepNone},
		{"an enrolled Host rests", enrolmentFacts{pinned: true, enrolledWith: hash, recorded: &v1alpha1.EnrollmentStatus{UsedTokenIDHash: hash}}, stepNone},
		{"an open token gets the lines of today's installer", enrolmentFacts{recorded: openToken(token), token: token, stale: true, now: noon}, stepRewrite},
		{"but not once it is used", enrolmentFacts{pinned: true, enrolledWith: hash, recorded: openToken(token), token: token, stale: true, now: noon}, stepFinish},
		{"an enrolled Host gets another token when asked", enrolmentFacts{pinned: true, enrolledWith: hash, asked: "now", recorded: &v1alpha1.EnrollmentStatus{UsedTokenIDHash: hash}}, stepMint},
		{"one token for one question", enrolmentFacts{pinned: true, enrolledWith: hash, asked: "now",
			recorded: &v1alpha1.EnrollmentStatus{UsedTokenIDHash: hash, MintedFor: "now"}}, stepNone},
		{"taking the question back asks nothing", enrolmentFacts{pinned: true, enrolledWith: hash,
			recorded: &v1alpha1.EnrollmentStatus{UsedTokenIDHash: hash, MintedFor: "now"}}, stepNone},
		{"a new machine with a right proof replaces the old one", enrolmentFacts{pinned: true, enrolledWith: "older", recorded: openToken(token), token: token,
			request: request(token, machine(2))}, stepApprove},
		{"keys taken out of the spec are asked for again", enrolmentFacts{recorded: &v1alpha1.EnrollmentStatus{UsedTokenIDHash: hash}}, stepMint},
		{"an enrolled machine whose verdict is gone gets it again", enrolmentFacts{pinned: true, identityHash: machine(1).Hash(), enrolledWith: hash,
			recorded: &v1alpha1.EnrollmentStatus{UsedTokenIDHash: hash}, request: request(token, machine(1))}, stepConfirm},
		{"also while a token for another one is open", enrolmentFacts{pinned: true, identityHash: machine(1).Hash(), enrolledWith: hash, recorded: openToken(other), token: other,
			request: request(token, machine(1))}, stepConfirm},
		{"once", enrolmentFacts{pinned: true, identityHash: machine(1).Hash(), enrolledWith: hash, request: request(token, machine(1)),
			recorded: &v1alpha1.EnrollmentStatus{UsedTokenIDHash: hash, Verdict: verdictAbout(request(token, machine(1)), wire.EnrolApproved)}}, stepNone},
		{"a machine with other keys gets none for a used token", enrolmentFacts{pinned: true, identityHash: machine(1).Hash(), enrolledWith: hash,
			recorded: &v1alpha1.EnrollmentStatus{UsedTokenIDHash: hash}, request: request(token, machine(2))}, stepNone},
		{"keys taken out of the spec do not make a void token good", enrolmentFacts{recorded: &v1alpha1.EnrollmentStatus{UsedTokenIDHash: hash, FailedAttempts: 5}}, stepNone},
		{"an expired token's Secret is removed", enrolmentFacts{recorded: openToken(token), token: token, now: noon.Add(time.Hour)}, stepRemoveExpired},
		{"after which there is no new one unasked", enrolmentFacts{recorded: openToken(token), now: noon.Add(time.Hour)}, stepNone},
		{"who came too late is told", enrolmentFacts{recorded: openToken(token), token: token, now: noon.Add(time.Hour), request: request(token, machine(1))}, stepRefuseExpired},
		{"once", enrolmentFacts{token: token, now: noon.Add(time.Hour), request: request(token, machine(1)),
			recorded: openToken(token, func(e *v1alpha1.EnrollmentStatus) {
				e.Verdict = verdictAbout(request(token, machine(1)), wire.EnrolTokenExpired)
			})}, stepRemoveExpired},
		{"a later expiry in status does not make a token last longer", enrolmentFacts{token: token, now: noon.Add(time.Hour), request: request(token, machine(1)),
			recorded: openToken(token, func(e *v1alpha1.EnrollmentStatus) { e.ExpiresAt = &metav1.Time{Time: noon.Add(24 * time.Hour)} })}, stepRefuseExpired},
		{"a token whose Secret was deleted is replaced", enrolmentFacts{recorded: openToken(token)}, stepMint},
		{"a hash in status that is not of the Secret's token is not believed", enrolmentFacts{recorded: openToken(other), token: token, request: request(other, machine(1))}, stepMint},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.facts.hostUID = hostUID
			if tt.facts.now.IsZero() {
				tt.facts.now = noon
			}
			if got := tt.facts.next(); got != tt.want {
				t.Errorf("next is %q, want %q", got, tt.want)
			}
			if tt.want != stepNone && tt.want != stepConfirm && !tt.facts.needsToken() {
				t.Error("would be decided without reading the Secret")
			}
		})
	}
}

func TestMalformedRequestsAreNone(t *testing.T) {
	good := v1alpha1.EnrollmentRequest{TokenIDHash: "h", SigningKey: convert.HostIdentity(machine(1)).SigningKey, SealingKey: convert.HostIdentity(machine(1)).SealingKey, Proof: "AA=="}
	if parseRequest(&good) == nil || parseRequest(nil) != nil {
		t.Fatal("a good request is not parsed, or none is")
	}
	for name, change := range map[string]func(*v1alpha1.EnrollmentRequest){
		"a key that is not base64": func(r *v1alpha1.EnrollmentRequest) { r.SigningKey = "***" },
		"a key that is too short":  func(r *v1alpha1.EnrollmentRequest) { r.SealingKey = "AAAA" },
		"a proof that is none":     func(r *v1alpha1.EnrollmentRequest) { r.Proof = "***" },
	} {
		bad := good
		change(&bad)
		if parseRequest(&bad) != nil {
			t.Errorf("%s is taken", name)
		}
	}
}
