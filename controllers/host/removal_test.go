package host

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/api/wire/seal"
	"github.com/restic-manager/restic-manager/controllers/internal/convert"
	"github.com/restic-manager/restic-manager/controllers/status"
	"github.com/restic-manager/restic-manager/test/env"
)

func TestWhatBecomesOfASetWhoseHostIsGone(t *testing.T) {
	const ttl = 24 * time.Hour
	written := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for name, tt := range map[string]struct {
		change func(*v1alpha1.ScheduleSet)
		buried bool
		later  time.Duration
		want   fate
		again  time.Duration
	}{
		"a machine that had the set is told":                        {want: fateBury},
		"also one that is not connected now":                        {change: func(s *v1alpha1.ScheduleSet) { s.Status.Connection.DisconnectedTime = &metav1.Time{Time: written} }, want: fateBury},
		"also long after its set was written":                       {later: 10 * ttl, want: fateBury},
		"without a machine that ever connected there is no one":     {change: func(s *v1alpha1.ScheduleSet) { s.Status.Connection = nil }, want: fateForget},
		"nor is there for its tombstone":                            {change: func(s *v1alpha1.ScheduleSet) { s.Status.Connection = nil }, buried: true, want: fateForget},
		"a tombstone waits for its ack":                             {buried: true, later: time.Hour, want: fateWait, again: 23 * time.Hour},
		"and for one of another revision":                           {buried: true, change: func(s *v1alpha1.ScheduleSet) { s.Status.AppliedRevision = "r1" }, want: fateWait, again: ttl},
		"a refused one waits too: the machine may mend":             {buried: true, change: func(s *v1alpha1.ScheduleSet) { s.Status.Refusal = &v1alpha1.Refusal{Revision: "r2"} }, want: fateWait, again: ttl},
		"one that is acked goes":                                    {buried: true, change: func(s *v1alpha1.ScheduleSet) { s.Status.AppliedRevision = "r2" }, want: fateForget},
		"one whose machine stays away goes at last":                 {buried: true, later: ttl, want: fateForget},
		"an acked set is no tombstone yet":                          {change: func(s *v1alpha1.ScheduleSet) { s.Status.AppliedRevision = "r2" }, want: fateBury},
		"what is being deleted is left to whose finalizer holds it": {change: func(s *v1alpha1.ScheduleSet) { s.DeletionTimestamp = &metav1.Time{Time: written} }, want: fateWait},
	} {
		t.Run(name, func(t *testing.T) {
			set := &v1alpha1.ScheduleSet{}
			set.Spec.Revision, set.Spec.Serial = "r2", written.UnixMicro()
			set.Status.Connection = &v1alpha1.Connection{Gateway: "g", Session: 1}
			if tt.change != nil {
				tt.change(set)
			}
			got, again := fateOf(set, tt.buried, written.Add(tt.later), ttl)
			if got != tt.want || again != tt.again {
				t.Errorf("fate %d in %s, want %d in %s", got, again, tt.want, tt.again)
			}
		})
	}
}

// connect notes a session and, when asked to, an ack, as the gateway does.
func (h *harness) connect(name string, acked bool) {
	h.t.Helper()
	changeStatus(h, h.set(name), func(s *v1alpha1.ScheduleSet) {
		s.Status.Connection = &v1alpha1.Connection{Gateway: "g", Session: 7, Process: "p", ConnectedTime: metav1.Now()}
		s.Status.Agent = &v1alpha1.AgentStatus{Version: "v1"}
		if acked {
			s.Status.AppliedRevision = s.Spec.Revision
		}
	})
}

func (h *harness) delete(object client.Object) {
	h.t.Helper()
	h.clock.Step(time.Second) // so that the next serial is the time
	if err := h.admin.Delete(h.t.Context(), object); err != nil {
		h.t.Fatal(err)
	}
}

// tombstone verifies a tombstone as the machine would.
func (h *harness) tombstone(name string, a agent) (*v1alpha1.ScheduleSet, *wire.ScheduleSet) {
	h.t.Helper()
	object := h.set(name)
	if object == nil || !object.Spec.Tombstone {
		h.t.Fatalf("there is no tombstone: %+v", object)
	}
	if err := seal.Verify(object.Spec.Bundle, decodeSignatures(h.t, object.Spec.Signatures), h.Signer.PublicKeys()); err != nil {
		h.t.Fatal(err)
	}
	set, err := wire.ParseScheduleSet(object.Spec.Bundle)
	if err != nil {
		h.t.Fatal(err)
	}
	if !set.Tombstone || set.IdentityHash != a.identity.Hash() || set.Host != (wire.HostRef{Namespace: h.namespace, Name: name}) ||
		set.Serial != object.Spec.Serial || set.Revision != object.Spec.Revision || len(set.SigningKeys) != 1 || !slices.Equal(set.TLSPins, h.TLSPins()) {
		h.t.Errorf("the tombstone says %s", object.Spec.Bundle)
	}
	if len(object.Spec.Credentials)+len(object.Spec.Groups)+len(object.Spec.Schedules) != 0 || object.Spec.Host.Identity != *convert.HostIdentity(&a.identity) {
		h.t.Errorf("the tombstone's spec is %+v", object.Spec)
	}
	return object, set
}

func TestARemovedHostLeavesATombstoneUntilItsMachineKnows(t *testing.T) {
	h := newHarness(t)
	a := newAgent(t)
	h.create(newSecret(), newHost("web-1"), newGroup("etc"), newSchedule("nightly", "etc"))
	h.enrolHost("web-1", a)
	h.connect("web-1", true)
	before := h.set("web-1")
	h.delete(h.host("web-1"))

	result := h.run("web-1")
	object, set := h.tombstone("web-1", a)
	if set.Serial <= before.Spec.Serial || set.Revision == before.Spec.Revision || set.KeepCredentials {
		t.Errorf("serial %d after %d, revision %s after %s", set.Serial, before.Spec.Serial, set.Revision, before.Spec.Revision)
	}
	if result.RequeueAfter != h.TombstoneTTL {
		t.Errorf("looks again after %s", result.RequeueAfter)
	}

	t.Log("until the machine acks it nothing is written")
	h.writes = 0
	h.clock.Step(time.Hour)
	if result := h.run("web-1"); h.writes != 0 || result.RequeueAfter != h.TombstoneTTL-time.Hour {
		t.Errorf("%d writes, looks again after %s", h.writes, result.RequeueAfter)
	}

	t.Log("a tombstone that somebody changed is written again")
	object.Spec.Bundle = strings.Replace(object.Spec.Bundle, "tombstone", "tombst0ne", 1)
	if err := h.admin.Update(t.Context(), object); err != nil {
		t.Fatal(err)
	}
	h.run("web-1")
	if _, again := h.tombstone("web-1", a); again.Serial <= set.Serial {
		t.Errorf("serial %d after %d", again.Serial, set.Serial)
	}

	h.connect("web-1", true)
	h.run("web-1")
	if left := h.set("web-1"); left != nil {
		t.Errorf("the machine knows, and the set is still there: %+v", left)
	}
	if !h.get("repo", &corev1.Secret{}) {
		t.Error("the Secret went with the Host")
	}
	if result := h.run("web-1"); result != (ctrl.Result{}) {
		t.Errorf("there is nothing left to do: %+v", result)
	}
}

func TestASetThatNoMachineEverHadGoesAtOnce(t *testing.T) {
	h := newHarness(t)
	h.create(newSecret(), newHost("web-1"))
	h.enrolHost("web-1", newAgent(t))
	h.delete(h.host("web-1"))
	h.run("web-1")
	if left := h.set("web-1"); left != nil {
		t.Errorf("%+v", left)
	}
}

func TestATombstoneIsNotKeptForEver(t *testing.T) {
	h := newHarness(t)
	h.create(newSecret(), newHost("web-1"))
	h.enrolHost("web-1", newAgent(t))
	h.connect("web-1", true)
	h.delete(h.host("web-1"))
	h.run("web-1")
	h.clock.Step(h.TombstoneTTL - time.Second)
	h.run("web-1")
	if h.set("web-1") == nil {
		t.Fatal("gone too early")
	}
	h.clock.Step(time.Second)
	h.run("web-1")
	if left := h.set("web-1"); left != nil {
		t.Errorf("%+v", left)
	}
}

func TestAHostThatIsBeingDeletedIsGone(t *testing.T) {
	h := newHarness(t)
	a := newAgent(t)
	host := newHost("web-1")
	host.Finalizers = []string{"example.com/somebody-elses"}
	h.create(newSecret(), host)
	h.enrolHost("web-1", a)
	h.connect("web-1", true)
	h.delete(h.host("web-1"))
	h.run("web-1")
	h.tombstone("web-1", a)
	change(h, h.host("web-1"), func(host *v1alpha1.Host) { host.Finalizers = nil })
	h.writes = 0
	h.run("web-1")
	if h.tombstone("web-1", a); h.writes != 0 {
		t.Errorf("%d writes when the Host had gone at last", h.writes)
	}
}

// again is the same machine's Host, as it is applied from Git once more.
func (h *harness) again(name string, identity *v1alpha1.HostIdentity) *v1alpha1.Host {
	h.t.Helper()
	host := newHost(name)
	host.Spec.Identity = identity
	h.create(host)
	return host
}

func TestAHostThatComesBackWithItsMachineIsPublishedAgain(t *testing.T) {
	for name, between := range map[string]func(*harness){
		"before anybody noticed":                       func(*harness) {},
		"while the tombstone waits":                    func(h *harness) { h.run("web-1") },
		"when the machine has the tombstone":           func(h *harness) { h.run("web-1"); h.connect("web-1", true) },
		"when the tombstone is gone":                   func(h *harness) { h.run("web-1"); h.connect("web-1", true); h.run("web-1") },
		"while the clock was set back in the meantime": func(h *harness) { h.run("web-1"); h.clock.SetTime(h.clock.Now().Add(-time.Hour)) },
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			a := newAgent(t)
			h.create(newSecret(), newHost("web-1"), newGroup("etc"), newSchedule("nightly", "etc"))
			h.enrolHost("web-1", a)
			h.connect("web-1", true)
			first := h.host("web-1")
			h.delete(first)
			between(h)
			var last int64
			if set := h.set("web-1"); set != nil {
				last = set.Spec.Serial
			}
			h.clock.Step(time.Millisecond)
			second := h.again("web-1", convert.HostIdentity(&a.identity))
			h.run("web-1")
			set, _ := h.bundle("web-1", a)
			object := h.set("web-1")
			if set.Tombstone || object.Spec.Tombstone || len(set.Schedules) != 1 || set.Serial <= last || object.Spec.Host.UID != string(second.UID) {
				t.Errorf("published %+v", object.Spec)
			}
			if len(object.OwnerReferences) != 0 {
				t.Errorf("owners %v", object.OwnerReferences)
			}
			h.wantCondition("web-1", "Ready", "True Published")
			if name != "when the tombstone is gone" && (object.Status.Connection == nil || h.host("web-1").Status.Agent == nil) {
				t.Error("the session was forgotten, or what the machine said of itself")
			}

			t.Log("and it can be removed again, by another tombstone")
			h.connect("web-1", false)
			h.delete(h.host("web-1"))
			h.run("web-1")
			if again, _ := h.tombstone("web-1", a); again.Status.AppliedRevision == again.Spec.Revision {
				t.Error("the ack of the first tombstone counts for the second")
			}
		})
	}
}

func TestAHostThatComesBackWithAnotherMachineTellsTheFirstOne(t *testing.T) {
	h := newHarness(t)
	former, next := newAgent(t), newAgent(t)
	h.create(newSecret(), newHost("web-1"))
	h.enrolHost("web-1", former)
	h.connect("web-1", true)
	h.delete(h.host("web-1"))
	h.again("web-1", convert.HostIdentity(&next.identity))

	if result := h.run("web-1"); result.RequeueAfter <= 0 || result.RequeueAfter > heirPatience {
		t.Errorf("looks again after %s", result.RequeueAfter)
	}
	h.tombstone("web-1", former)
	h.wantCondition("web-1", "Ready", "False NotPublished", "earlier Host")
	h.wantCondition("web-1", "Connected", "False NeverConnected")
	h.wantCondition("web-1", "ScheduleSetApplied", "False NotPublished")
	if said := h.host("web-1").Status.Agent; said != nil {
		t.Errorf("the former machine said %+v, not the next one", said)
	}
	h.connect("web-1", true)
	h.run("web-1")
	h.bundle("web-1", next)
	if h.set("web-1").Status.Connection != nil {
		t.Error("the former machine's session counts for the next one")
	}

	t.Log("a machine that is away is not waited for long")
	third := newAgent(t)
	h.connect("web-1", true)
	h.delete(h.host("web-1"))
	h.again("web-1", convert.HostIdentity(&third.identity))
	h.run("web-1")
	h.tombstone("web-1", next)
	h.clock.Step(heirPatience)
	h.run("web-1")
	h.bundle("web-1", third)

	t.Log("one that never connected is not waited for at all")
	fourth := newAgent(t)
	h.delete(h.host("web-1"))
	h.again("web-1", convert.HostIdentity(&fourth.identity))
	h.run("web-1")
	h.bundle("web-1", fourth)
}

func TestAHostThatComesBackWithoutAMachineLeavesTheTombstone(t *testing.T) {
	h := newHarness(t)
	former, next := newAgent(t), newAgent(t)
	h.create(newSecret(), newHost("web-1"))
	h.enrolHost("web-1", former)
	h.connect("web-1", true)
	h.delete(h.host("web-1"))
	h.again("web-1", nil)
	h.run("web-1")
	h.tombstone("web-1", former)
	h.wantCondition("web-1", "Ready", "True Accepted", "waiting for the machine to enrol")
	h.wantCondition("web-1", "Connected", "False NeverConnected")
	if said := h.host("web-1").Status.Agent; said != nil {
		t.Errorf("the former machine said %+v, and there is no other yet", said)
	}
	h.writes = 0
	if h.run("web-1"); h.writes != 0 {
		t.Errorf("%d writes while it waits", h.writes)
	}
	h.clock.Step(heirPatience)
	h.enrolHost("web-1", next)
	h.bundle("web-1", next)
	h.wantCondition("web-1", "Ready", "True Published")
}

func TestWhatACacheDoesNotShowIsAskedFor(t *testing.T) {
	h := newHarness(t)
	h.create(newSecret(), newHost("web-1"))
	h.enrolHost("web-1", newAgent(t))
	h.connect("web-1", true)
	h.writes = 0
	if _, _, err := h.end(t.Context(), h.set("web-1"), "", h.TombstoneTTL); !apierrors.IsConflict(err) {
		t.Errorf("a Host that the cache misses: %v", err)
	}
	if _, _, err := h.end(t.Context(), h.set("web-1"), "another-uid", h.TombstoneTTL); !apierrors.IsConflict(err) {
		t.Errorf("a Host that is another one by now: %v", err)
	}
	if h.writes != 0 {
		t.Errorf("%d writes", h.writes)
	}
}

func TestASetOfAnEarlierVersionIsTakenOutOfGarbageCollection(t *testing.T) {
	h := newHarness(t)
	a := newAgent(t)
	h.create(newSecret(), newHost("web-1"))
	h.enrolHost("web-1", a)
	other := metav1.OwnerReference{APIVersion: "v1", Kind: "Secret", Name: "repo", UID: func() (s corev1.Secret) { h.get("repo", &s); return }().UID}
	before := change(h, h.set("web-1"), func(s *v1alpha1.ScheduleSet) {
		s.OwnerReferences = []metav1.OwnerReference{ownerOf(h.host("web-1")), other}
	})
	h.run("web-1")
	after := h.set("web-1")
	if len(after.OwnerReferences) != 1 || after.OwnerReferences[0].Kind != "Secret" {
		t.Errorf("owners %v", after.OwnerReferences)
	}
	if after.Generation != before.Generation || after.Spec.Serial != before.Spec.Serial {
		t.Error("the set was published anew for that")
	}

	t.Log("one whose Host was deleted before that is still told, if the collector did not come first")
	h.connect("web-1", true)
	owner := ownerOf(h.host("web-1"))
	change(h, h.host("web-1"), func(host *v1alpha1.Host) { host.Finalizers = []string{"example.com/hold"} })
	h.delete(h.host("web-1"))
	change(h, h.set("web-1"), func(s *v1alpha1.ScheduleSet) { s.OwnerReferences = []metav1.OwnerReference{owner} })
	h.run("web-1")
	if object, _ := h.tombstone("web-1", a); len(object.OwnerReferences) != 0 {
		t.Errorf("owners %v", object.OwnerReferences)
	}
	change(h, h.host("web-1"), func(host *v1alpha1.Host) { host.Finalizers = nil })
}

func TestAMachineKeepsTheOnlyCopyOfAPassword(t *testing.T) {
	minted := v1alpha1.MintedSecretName("web-1")
	for name, tt := range map[string]struct {
		before func(*harness)
		keeps  bool
	}{
		"nobody has said that there is another copy": {func(*harness) {}, true},
		"the Secret is gone": {func(h *harness) {
			h.delete(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: h.namespace, Name: minted}})
		}, true},
		"a copy is kept outside the cluster": {func(h *harness) {
			secret := &corev1.Secret{}
			h.get(minted, secret)
			change(h, secret, func(s *corev1.Secret) { s.Annotations = map[string]string{v1alpha1.AnnotationExported: "true"} })
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			a := newAgent(t)
			host := newHost("web-1")
			host.Spec.Repository.CredentialsSecretRef = nil
			h.create(host)
			h.enrolHost("web-1", a)
			h.connect("web-1", true)
			tt.before(h)
			h.delete(h.host("web-1"))
			h.run("web-1")
			if _, set := h.tombstone("web-1", a); set.KeepCredentials != tt.keeps {
				t.Errorf("keepCredentials is %v", set.KeepCredentials)
			}
			h.writes = 0
			if h.run("web-1"); h.writes != 0 {
				t.Errorf("%d writes on a tombstone that stands", h.writes)
			}
		})
	}
}

// The namespace is not emptied while nobody works on it, so the moment between its deletion and that of its Hosts lasts.
func TestANamespaceThatIsBeingDeletedTakesItsHostsWithIt(t *testing.T) {
	h := newHarness(t)
	cp := env.Shared(t)
	a := newAgent(t)
	minted := newHost("web-2")
	minted.Spec.Repository.CredentialsSecretRef = nil // so that a Secret is to be made
	given := newHost("web-3")
	given.Spec.Identity = convert.HostIdentity(machine(3))
	h.create(newSecret(), newHost("web-1"), minted, given)
	h.enrolHost("web-1", a)
	h.connect("web-1", true)
	if err := cp.StopControllerManager(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cp.StartControllerManager(context.Background()); err != nil {
			t.Error(err)
		}
	})
	h.delete(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: h.namespace}})

	t.Log("a machine that is there is told, though its Host still stands")
	h.run("web-1")
	h.tombstone("web-1", a)
	h.connect("web-1", true)
	h.run("web-1")
	if left := h.set("web-1"); left != nil {
		t.Errorf("the machine knows, and the set is still there: %+v", left.Spec)
	}
	t.Log("and nothing is made for the others")
	h.writes = 0
	for _, name := range []string{"web-1", "web-2", "web-3"} {
		if result := h.run(name); result != (ctrl.Result{}) || h.writes != 0 {
			t.Errorf("%s: %+v, %d writes", name, result, h.writes)
		}
	}

	t.Log("also where the cache does not show it yet")
	for _, name := range []string{"web-1", "web-2", "web-3"} {
		_, err := h.reconcile(t.Context(), h.host(name))
		if !status.InTerminatingNamespace(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
