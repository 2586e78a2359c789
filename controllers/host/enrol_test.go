package host

import (
	"errors"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/controllers/internal/convert"
)

func TestAMachineEnrols(t *testing.T) {
	h := newHarness(t)
	h.create(newSecret(), newHost("web-1"))

	result := h.run("web-1")
	if result.RequeueAfter <= 0 || result.RequeueAfter > time.Hour {
		t.Errorf("looks again after %s, want by the token's expiry", result.RequeueAfter)
	}
	token := h.token("web-1")
	host := h.host("web-1")
	if token == nil || host.Status.Enrollment == nil || host.Status.Enrollment.TokenIDHash != wire.TokenIDHash(token.ID) {
		t.Fatalf("token %v, status %+v", token != nil, host.Status.Enrollment)
	}
	if token.HostUID != string(host.UID) || token.URL != "https://gateway.example.com" || len(token.SigningKeys) != 1 || len(token.TLSPins) != 1 ||
		!token.NotAfter.Equal(h.clock.Now().Add(time.Hour)) || !host.Status.Enrollment.ExpiresAt.Time.Equal(token.NotAfter) {
		t.Errorf("token for %s at %s until %s", token.HostUID, token.URL, token.NotAfter)
	}
	secret := &corev1.Secret{}
	if !h.get("web-1-enrollment", secret) || !metav1.IsControlledBy(secret, host) || secret.Type != corev1.SecretTypeOpaque {
		t.Errorf("the Secret does not belong to the Host: %v", secret.OwnerReferences)
	}
	h.wantEvent("EnrollmentTokenMinted")
	h.wantCondition("web-1", "Enrolled", "False WaitingForMachine", "web-1-enrollment")
	h.wantCondition("web-1", "Ready", "True Accepted", "waiting for the machine to enrol")
	h.wantCondition("web-1", "ScheduleSetApplied", "False NotPublished")
	h.wantCondition("web-1", "Stalled", "absent")

	a := newAgent(t)
	h.ask("web-1", token, a, proofOf(token, a))
	h.run("web-1")
	host = h.host("web-1")
	if host.Spec.Identity == nil || *host.Spec.Identity != *convert.HostIdentity(&a.identity) || host.Annotations[v1alpha1.AnnotationEnrolledWith] != wire.TokenIDHash(token.ID) {
		t.Errorf("identity %v, annotations %v", host.Spec.Identity, host.Annotations)
	}
	if e := host.Status.Enrollment; e.TokenIDHash != "" || e.ExpiresAt != nil || e.UsedTokenIDHash != wire.TokenIDHash(token.ID) {
		t.Errorf("the token is not burnt: %+v", e)
	}
	if h.token("web-1") != nil {
		t.Error("the Secret is still there")
	}
	verdict := h.verdictOf("web-1")
	if !verdict.Approved || verdict.IdentityHash != a.identity.Hash() || verdict.TokenIDHash != wire.TokenIDHash(token.ID) || verdict.HostUID != string(host.UID) {
		t.Errorf("verdict %+v", verdict)
	}
	h.wantEvent("Enrolled", "web-1.local")
	h.wantCondition("web-1", "Enrolled", "True IdentityPinned")
	h.wantCondition("web-1", "Ready", "True Published")
	h.wantCondition("web-1", "ScheduleSetApplied", "False Pending")
	h.wantCondition("web-1", "Connected", "False NeverConnected")
	if h.set("web-1") == nil {
		t.Error("no set is published: the gateway would not know the machine")
	}

	t.Log("the same keys again change nothing")
	h.ask("web-1", token, a, proofOf(token, a))
	h.writes = 0
	h.run("web-1")
	if again := h.verdictOf("web-1"); h.writes != 0 || *again != *verdict {
		t.Errorf("%d writes, verdict %+v", h.writes, again)
	}
	t.Log("also after a token for another machine was minted and guessed at")
	change(h, h.host("web-1"), func(host *v1alpha1.Host) { host.Annotations[v1alpha1.AnnotationMintToken] = "another" })
	h.run("web-1")
	second := h.token("web-1")
	h.ask("web-1", second, newAgent(t), make([]byte, 32))
	h.run("web-1")
	if v := h.verdictOf("web-1"); v.Approved {
		t.Errorf("verdict %+v", v)
	}
	h.ask("web-1", token, a, proofOf(token, a))
	h.run("web-1")
	if again := h.verdictOf("web-1"); !again.Approved || again.IdentityHash != verdict.IdentityHash || again.TokenIDHash != verdict.TokenIDHash {
		t.Errorf("the machine does not get its verdict again: %+v", again)
	}

	t.Log("other keys with a used token change nothing")
	b := newAgent(t)
	h.ask("web-1", token, b, proofOf(token, b))
	h.writes = 0
	h.run("web-1")
	if h.writes != 0 {
		t.Errorf("%d writes", h.writes)
	}
}

func TestFiveWrongProofsMakeATokenVoid(t *testing.T) {
	h := newHarness(t)
	h.create(newSecret(), newHost("web-1"))
	h.run("web-1")
	token := h.token("web-1")
	for n := range 5 {
		a := newAgent(t)
		h.ask("web-1", token, a, make([]byte, 32))
		h.run("web-1")
		if v := h.verdictOf("web-1"); v.Approved || v.Reason != wire.EnrolWrongProof || v.IdentityHash != a.identity.Hash() {
			t.Errorf("attempt %d: verdict %+v", n, v)
		}
		h.wantEvent("EnrollmentRefused", "WrongProof")
		if got := h.host("web-1").Status.Enrollment.FailedAttempts; int(got) != n+1 {
			t.Errorf("attempt %d is counted as %d", n+1, got)
		}
		h.run("web-1") // judged once only
	}
	host := h.host("web-1")
	if host.Spec.Identity != nil || host.Status.Enrollment.TokenIDHash != "" || host.Status.Enrollment.FailedAttempts != 5 || h.token("web-1") != nil {
		t.Errorf("after five wrong proofs: %+v", host.Status.Enrollment)
	}
	h.wantCondition("web-1", "Enrolled", "False TokenVoid", "annotate")

	t.Log("the right proof comes too late now")
	a := newAgent(t)
	h.ask("web-1", token, a, proofOf(token, a))
	h.run("web-1")
	if h.host("web-1").Spec.Identity != nil {
		t.Fatal("a void token enrolled a machine")
	}

	t.Log("another token can be asked for")
	change(h, h.host("web-1"), func(host *v1alpha1.Host) {
		host.Annotations = map[string]string{v1alpha1.AnnotationMintToken: "again"}
	})
	h.enrolHost("web-1", newAgent(t))
	if e := h.host("web-1").Status.Enrollment; e.MintedFor != "again" || e.FailedAttempts != 0 {
		t.Errorf("after the second token: %+v", e)
	}
}

func TestAnExpiredTokenEnrolsNobody(t *testing.T) {
	h := newHarness(t)
	h.create(newSecret(), newHost("web-1"))
	h.run("web-1")
	token := h.token("web-1")
	h.clock.Step(time.Hour)
	a := newAgent(t)
	h.ask("web-1", token, a, proofOf(token, a))
	if result := h.run("web-1"); result.RequeueAfter != 0 {
		t.Errorf("looks again after %s for nothing", result.RequeueAfter)
	}
	if v := h.verdictOf("web-1"); v.Approved || v.Reason != wire.EnrolTokenExpired {
		t.Errorf("verdict %+v", v)
	}
	host := h.host("web-1")
	if host.Spec.Identity != nil || h.token("web-1") != nil {
		t.Errorf("identity %v, Secret there: %v", host.Spec.Identity, h.token("web-1") != nil)
	}
	if host.Status.Enrollment.TokenIDHash != wire.TokenIDHash(token.ID) {
		t.Error("the gateway can no longer tell the token's user that it has expired")
	}
	h.wantCondition("web-1", "Enrolled", "False TokenExpired", "annotate")
	h.writes = 0
	h.run("web-1")
	if h.writes != 0 {
		t.Errorf("%d writes about an expired token", h.writes)
	}
}

func TestAnotherMachineReplacesTheFirst(t *testing.T) {
	h := newHarness(t)
	h.create(newSecret(), newHost("web-1"))
	first, second := newAgent(t), newAgent(t)
	h.enrolHost("web-1", first)
	serial := h.set("web-1").Spec.Serial

	change(h, h.host("web-1"), func(host *v1alpha1.Host) {
		host.Annotations[v1alpha1.AnnotationMintToken] = "new disk"
	})
	h.run("web-1")
	h.wantCondition("web-1", "Enrolled", "True IdentityPinned", "a token to replace them")
	token := h.token("web-1")
	if token.SerialFloor > serial {
		t.Errorf("the floor %d is above the set in force %d: the machine could not come back with its old keys", token.SerialFloor, serial)
	}
	h.ask("web-1", token, second, proofOf(token, second))
	h.run("web-1")
	set := h.set("web-1")
	if set.Spec.Host.Identity != *convert.HostIdentity(&second.identity) || set.Spec.Serial <= serial {
		t.Errorf("the set is not for the second machine, or not newer: %+v", set.Spec.Host)
	}
	h.wantCondition("web-1", "Enrolled", "True IdentityPinned")
}

func TestAnIdentityFromGitNeedsNoToken(t *testing.T) {
	h := newHarness(t)
	a := newAgent(t)
	host := newHost("web-1")
	host.Spec.Identity = convert.HostIdentity(&a.identity)
	h.create(newSecret(), host)
	h.run("web-1")
	if h.token("web-1") != nil || h.set("web-1") == nil {
		t.Error("a token was minted, or no set published")
	}
	h.wantCondition("web-1", "Enrolled", "True IdentityGiven")

	t.Log("without it the set goes, and a token comes")
	change(h, h.host("web-1"), func(host *v1alpha1.Host) { host.Spec.Identity = nil })
	h.run("web-1")
	if h.token("web-1") == nil || h.set("web-1") != nil {
		t.Errorf("token %v, set %v", h.token("web-1") != nil, h.set("web-1") != nil)
	}
	h.wantCondition("web-1", "Ready", "True Accepted")
}

func TestSomebodyElsesSecretIsLeftAlone(t *testing.T) {
	h := newHarness(t)
	foreign := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "web-1-enrollment"}, Data: map[string][]byte{"mine": []byte("x")}}
	h.create(newSecret(), newHost("web-1"), foreign)
	h.run("web-1")
	h.wantCondition("web-1", "Ready", "False Invalid", `Secret "web-1-enrollment" is in the way`)
	kept := &corev1.Secret{}
	if !h.get("web-1-enrollment", kept) || string(kept.Data["mine"]) != "x" || len(kept.Data) != 1 {
		t.Errorf("the Secret was changed: %v", kept.Data)
	}
	if err := h.admin.Delete(t.Context(), kept); err != nil {
		t.Fatal(err)
	}
	h.enrolHost("web-1", newAgent(t))
}

// The controllers are killed at every write of an enrolment, before and after it is stored, and started again.
func TestACrashBetweenAnyTwoStepsHeals(t *testing.T) {
	for _, lost := range []bool{false, true} {
		for crashAt := 1; ; crashAt++ {
			what := "before"
			if lost {
				what = "after"
			}
			crashed := false
			ok := t.Run(fmt.Sprintf("%s write %d", what, crashAt), func(t *testing.T) {
				h := newHarness(t)
				h.create(newSecret(), newHost("web-1"))
				h.crashAt, h.lost = crashAt, lost
				step := func() {
					for range 5 {
						result, err := h.Reconcile(t.Context(), ctrl.Request{NamespacedName: h.key("web-1")})
						if err != nil && !errors.Is(err, errCrash) {
							t.Fatalf("reconciling: %v", err)
						}
						if err == nil && result.RequeueAfter != conflictDelay {
							return
						}
					}
					t.Fatal("does not come to rest")
				}
				step()
				token := h.token("web-1")
				if token == nil || h.host("web-1").Status.Enrollment.TokenIDHash != wire.TokenIDHash(token.ID) {
					t.Fatal("the token in the Secret is not the one in status")
				}
				a := newAgent(t)
				h.ask("web-1", token, a, proofOf(token, a))
				step()
				host := h.host("web-1")
				if host.Spec.Identity == nil || *host.Spec.Identity != *convert.HostIdentity(&a.identity) {
					t.Errorf("identity %v", host.Spec.Identity)
				}
				if v := h.verdictOf("web-1"); !v.Approved || v.IdentityHash != a.identity.Hash() {
					t.Errorf("verdict %+v", v)
				}
				if e := host.Status.Enrollment; e.TokenIDHash != "" || e.UsedTokenIDHash != wire.TokenIDHash(token.ID) || h.token("web-1") != nil {
					t.Errorf("the token is not burnt: %+v", e)
				}
				if h.set("web-1") == nil {
					t.Error("no set is published")
				}
				h.wantCondition("web-1", "Ready", "True Published")
				h.wantCondition("web-1", "Enrolled", "True IdentityPinned")
				crashed = h.writes >= crashAt
			})
			if !ok || !crashed {
				if crashAt < 6 {
					t.Errorf("only %d writes were interrupted", crashAt-1)
				}
				break
			}
		}
	}
}
