package host

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/api/wire/seal"
	"github.com/restic-manager/restic-manager/controllers/internal/convert"
)

// bundle verifies a set as the machine would and returns what it says, with its credential.
func (h *harness) bundle(name string, a agent) (*wire.ScheduleSet, wire.Credential) {
	h.t.Helper()
	object := h.set(name)
	if object == nil {
		h.t.Fatal("no set is published")
	}
	if err := seal.Verify(object.Spec.Bundle, decodeSignatures(h.t, object.Spec.Signatures), h.Signer.PublicKeys()); err != nil {
		h.t.Fatal(err)
	}
	set, err := wire.ParseScheduleSet(object.Spec.Bundle)
	if err != nil {
		h.t.Fatal(err)
	}
	if set.IdentityHash != a.identity.Hash() || set.Serial != object.Spec.Serial || set.Revision != object.Spec.Revision || len(object.Spec.Credentials) != 1 {
		h.t.Fatalf("the set and its bundle differ: %+v", object.Spec)
	}
	sealed, err := base64.StdEncoding.DecodeString(object.Spec.Credentials[0].Sealed)
	if err != nil || seal.Hash(sealed) != set.Credentials[0].SHA256 {
		h.t.Fatalf("the credential is not the one in the bundle: %v", err)
	}
	credential, err := seal.OpenCredential(set.Host, set.IdentityHash, a.private, wire.SealedCredential{Name: object.Spec.Credentials[0].Name, Sealed: sealed})
	if err != nil {
		h.t.Fatal(err)
	}
	return set, credential
}

func TestTheSerialOfAPartIsThatOfTheFirstSetThatHeldItAsItIs(t *testing.T) {
	h := newHarness(t)
	h.create(newSecret(), newHost("web-1"), newGroup("etc"), newGroup("home"), newSchedule("nightly", "etc", "home"))
	h.enrolHost("web-1", newAgent(t))
	// serials are those of the groups and of the schedule, as the number of the set in which each was first.
	var sets []int64
	wantSerials := func(want ...int) {
		t.Helper()
		h.clock.Step(time.Second)
		h.run("web-1")
		spec := h.set("web-1").Spec
		if len(sets) == 0 || sets[len(sets)-1] != spec.Serial {
			sets = append(sets, spec.Serial)
		}
		var got []int
		for _, g := range spec.Groups {
			got = append(got, slices.Index(sets, g.Serial))
		}
		for _, s := range spec.Schedules {
			got = append(got, slices.Index(sets, s.Serial))
		}
		if !slices.Equal(got, want) {
			t.Errorf("groups and schedules are of the sets %v, want %v", got, want)
		}
	}
	wantSerials(0, 0, 0)
	etc := &v1alpha1.SourceGroup{}
	h.get("etc", etc)
	change(h, etc, func(g *v1alpha1.SourceGroup) { g.Spec.Includes = []string{"/etc", "/opt"} })
	wantSerials(1, 0, 0)
	schedule := &v1alpha1.Schedule{}
	h.get("nightly", schedule)
	change(h, schedule, func(s *v1alpha1.Schedule) { s.Spec.SourceGroups = []string{"home"} })
	wantSerials(1, 0, 2)

	t.Log("what was deleted and made again begins anew, in the same generation too")
	again := newGroup("home")
	again.Namespace = h.namespace
	if err := h.admin.Delete(t.Context(), again); err != nil {
		t.Fatal(err)
	}
	again = newGroup("home")
	again.Spec.Includes = []string{"/elsewhere"}
	h.create(again)
	wantSerials(1, 3, 2)

	t.Log("what is listed beside the bundle is written anew with what the last set said")
	change(h, h.set("web-1"), func(s *v1alpha1.ScheduleSet) { s.Spec.Schedules[0].Suspended = true })
	wantSerials(1, 3, 2)

	t.Log("serials of a set that says nothing of them are its own")
	change(h, h.set("web-1"), func(s *v1alpha1.ScheduleSet) { s.Spec.Groups[0].Serial, s.Spec.Schedules[0].Serial = 0, 0 })
	h.get("nightly", schedule)
	change(h, schedule, func(s *v1alpha1.Schedule) { s.Spec.Suspend = true })
	wantSerials(4, 3, 5)

	t.Log("nothing is known of a machine that has a set which was lost")
	changeStatus(h, h.set("web-1"), func(s *v1alpha1.ScheduleSet) { s.Status.AppliedSerial = s.Spec.Serial + 1 })
	change(h, schedule, func(s *v1alpha1.Schedule) { s.Spec.Suspend = false })
	wantSerials(6, 6, 6)

	t.Log("nor of a machine with other keys")
	changeStatus(h, h.set("web-1"), func(s *v1alpha1.ScheduleSet) {
		s.Status.AppliedRevision, s.Status.AppliedSerial = s.Spec.Revision, s.Spec.Serial
	})
	another := newAgent(t)
	change(h, h.host("web-1"), func(host *v1alpha1.Host) { host.Spec.Identity = convert.HostIdentity(&another.identity) })
	wantSerials(7, 7, 7)
}

func TestASigningKeyThatIsAddedLeavesTheSerials(t *testing.T) {
	h := newHarness(t)
	sign := func(keys ...ed25519.PrivateKey) {
		t.Helper()
		signer, err := seal.NewSigner(keys...)
		if err != nil {
			t.Fatal(err)
		}
		h.Signer = testSigner{signer}
	}
	var keys []ed25519.PrivateKey
	for range 2 {
		_, key, err := ed25519.GenerateKey(nil)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key)
	}
	sign(keys[0])
	h.create(newSecret(), newHost("web-1"), newGroup("etc"), newSchedule("nightly", "etc"))
	h.enrolHost("web-1", newAgent(t))
	before := h.set("web-1").Spec
	h.clock.Step(time.Second)
	sign(keys...)
	h.run("web-1")
	after := h.set("web-1").Spec
	if after.Serial <= before.Serial || len(after.Signatures) != 2 {
		t.Errorf("the set has serial %d after %d, and %d signatures", after.Serial, before.Serial, len(after.Signatures))
	}
	if diff := cmp.Diff(before.Groups, after.Groups) + cmp.Diff(before.Schedules, after.Schedules); diff != "" {
		t.Errorf("a machine that is away is waited for (-before +after):\n%s", diff)
	}
	t.Log("a set that none of the keys has signed says nothing")
	sign(keys[1:]...)
	change(h, h.set("web-1"), func(s *v1alpha1.ScheduleSet) { s.Spec.Signatures = s.Spec.Signatures[:1] })
	h.run("web-1")
	if again := h.set("web-1").Spec; again.Groups[0].Serial != again.Serial || again.Schedules[0].Serial != again.Serial {
		t.Errorf("parts of the set %d have the serials %d and %d", again.Serial, again.Groups[0].Serial, again.Schedules[0].Serial)
	}
}

func TestASetIsPublishedAndFollowsItsObjects(t *testing.T) {
	h := newHarness(t)
	a := newAgent(t)
	h.create(newSecret(), newHost("web-1"), newGroup("etc"), newSchedule("nightly", "etc"))
	h.enrolHost("web-1", a)

	object := h.set("web-1")
	if len(object.OwnerReferences) != 0 {
		t.Errorf("owners %v: it must outlive its Host", object.OwnerReferences)
	}
	wantGroups := []v1alpha1.ScheduleSetGroup{{Name: "etc", Generation: 1, Serial: object.Spec.Serial}}
	wantSchedules := []v1alpha1.ScheduleSetSchedule{{Name: "nightly", Generation: 1, Serial: object.Spec.Serial, SourceGroups: []string{"etc"}}}
	if diff := cmp.Diff(wantGroups, object.Spec.Groups) + cmp.Diff(wantSchedules, object.Spec.Schedules); diff != "" {
		t.Errorf("listed (-want +got):\n%s", diff)
	}
	set, credential := h.bundle("web-1", a)
	if len(set.Groups) != 1 || len(set.Schedules) != 1 || set.TLSPins[0] != "sha256:x" {
		t.Errorf("bundle %+v", set)
	}
	want := map[string]string{"RESTIC_PASSWORD": repositoryPassword, "RESTIC_REST_USERNAME": "web-1"}
	if diff := cmp.Diff(want, credential.Environment); diff != "" {
		t.Errorf("credential (-want +got):\n%s", diff)
	}
	if strings.Contains(object.Spec.Bundle, repositoryPassword) {
		t.Error("the bundle holds the password")
	}
	h.wantCondition("web-1", "Ready", "True Published", "1 schedule for 1 source group")

	t.Log("an unchanged Host writes nothing")
	h.writes = 0
	for range 3 {
		h.run("web-1")
	}
	if again := h.set("web-1"); h.writes != 0 || again.ResourceVersion != object.ResourceVersion {
		t.Errorf("%d writes", h.writes)
	}

	t.Log("a changed schedule is published with a greater serial")
	schedule := &v1alpha1.Schedule{}
	h.get("nightly", schedule)
	change(h, schedule, func(s *v1alpha1.Schedule) { s.Spec.Suspend = true })
	h.run("web-1")
	changed, _ := h.bundle("web-1", a)
	if !changed.Schedules[0].Suspended || changed.Serial <= set.Serial || changed.Revision == set.Revision {
		t.Errorf("after a change: %+v", changed)
	}
	if !h.set("web-1").Spec.Schedules[0].Suspended {
		t.Error("the gateway does not see the suspension")
	}

	t.Log("a clock that was set back does not make serials smaller")
	h.clock.SetTime(h.clock.Now().Add(-time.Hour))
	change(h, schedule, func(s *v1alpha1.Schedule) { s.Spec.Suspend = false })
	h.run("web-1")
	if later, _ := h.bundle("web-1", a); later.Serial != changed.Serial+1 {
		t.Errorf("serial %d after %d", later.Serial, changed.Serial)
	}

	t.Log("an invalid schedule stays away, the others stay")
	h.create(newSchedule("broken", "etc"))
	broken := &v1alpha1.Schedule{}
	h.get("broken", broken)
	change(h, broken, func(s *v1alpha1.Schedule) { s.Spec.Cron = "61 * * * *" })
	h.run("web-1")
	if now, _ := h.bundle("web-1", a); len(now.Schedules) != 1 || now.Schedules[0].Name != "nightly" {
		t.Errorf("schedules %+v", now.Schedules)
	}
	h.wantCondition("web-1", "Ready", "True Published", "left out: Schedule broken: spec.cron")
}

func TestACredentialChangeIsSealedAnew(t *testing.T) {
	h := newHarness(t)
	a := newAgent(t)
	h.create(newSecret(), newHost("web-1"))
	h.enrolHost("web-1", a)
	before, _ := h.bundle("web-1", a)
	secret := &corev1.Secret{}
	h.get("repo", secret)
	change(h, secret, func(s *corev1.Secret) { s.Data["RESTIC_PASSWORD"] = []byte("another one") })
	h.run("web-1")
	after, credential := h.bundle("web-1", a)
	if credential.Environment["RESTIC_PASSWORD"] != "another one" || after.Revision == before.Revision || after.Serial <= before.Serial {
		t.Errorf("revision %s, serial %d after %d", after.Revision, after.Serial, before.Serial)
	}
}

// clientCertificate is a self-signed certificate and its key, PEM.
func clientCertificate(t *testing.T) (certificate, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "web-1"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}

func TestAClientCertificateIsSealedAndRotated(t *testing.T) {
	h := newHarness(t)
	a := newAgent(t)
	secret := newSecret()
	first, firstKey := clientCertificate(t)
	secret.Data[v1alpha1.ClientCertificateKey], secret.Data[v1alpha1.ClientKeyKey] = first, firstKey
	h.create(secret, newHost("web-1"))
	h.enrolHost("web-1", a)
	before, credential := h.bundle("web-1", a)
	holds := func(c wire.Credential, parts ...[]byte) bool {
		for _, part := range parts {
			if !strings.Contains(c.ClientCertificate, strings.TrimSpace(string(part))) {
				return false
			}
		}
		return true
	}
	if !holds(credential, first, firstKey) || len(credential.Environment) != 2 {
		t.Errorf("the machine gets %d variables, and a certificate of %d bytes that is not ours", len(credential.Environment), len(credential.ClientCertificate))
	}
	next, nextKey := clientCertificate(t)
	change(h, secret, func(s *corev1.Secret) {
		s.Data[v1alpha1.ClientCertificateKey], s.Data[v1alpha1.ClientKeyKey] = next, nextKey
	})
	h.run("web-1")
	after, credential := h.bundle("web-1", a)
	if !holds(credential, next, nextKey) || holds(credential, first) || after.Revision == before.Revision || after.Serial <= before.Serial {
		t.Errorf("after the rotation: revision %s, serial %d after %d", after.Revision, after.Serial, before.Serial)
	}
	change(h, secret, func(s *corev1.Secret) { s.Data[v1alpha1.ClientKeyKey] = firstKey })
	h.run("web-1")
	h.wantCondition("web-1", "Ready", "False CredentialsInvalid", v1alpha1.ClientKeyKey)
}

func TestHooksAndCommandsReachTheMachine(t *testing.T) {
	h := newHarness(t)
	a := newAgent(t)
	host, group := newHost("web-1"), newGroup("db")
	host.Spec.Hooks = &v1alpha1.Hooks{PreBackup: []v1alpha1.Hook{{Command: []string{"/usr/bin/freeze", "--all"}}}}
	group.Spec.Includes, group.Spec.Command, group.Spec.FileName = nil, []string{"/usr/bin/pg_dump", "shop"}, "shop.dump"
	h.create(newSecret(), host, group)
	h.enrolHost("web-1", a)
	set, _ := h.bundle("web-1", a)
	if !set.Hooks.Any() || set.Hooks.PreBackup[0].Command[1] != "--all" || len(set.Groups) != 1 || set.Groups[0].Command[1] != "shop" || set.Groups[0].FileName != "shop.dump" {
		t.Errorf("bundle %+v", set)
	}
	h.wantCondition("web-1", "AllowedByMachine", "Unknown Pending")
	ack := func(refused ...v1alpha1.NotAllowed) {
		changeStatus(h, h.set("web-1"), func(s *v1alpha1.ScheduleSet) {
			s.Status.AppliedRevision, s.Status.NotAllowed = s.Spec.Revision, refused
		})
		h.run("web-1")
	}
	ack(v1alpha1.NotAllowed{What: "hooks", Message: "allow.hooks is deny"}, v1alpha1.NotAllowed{SourceGroup: "db", What: "commands", Message: "allow.commands is deny"})
	h.wantCondition("web-1", "AllowedByMachine", "False NotAllowedByMachine", "hooks of the Host", "the command of SourceGroup db", "allow.hooks, allow.commands")
	h.wantCondition("web-1", "Ready", "True Published")
	ack()
	h.wantCondition("web-1", "AllowedByMachine", "True AllAllowed")
	change(h, h.host("web-1"), func(host *v1alpha1.Host) { host.Spec.Hooks = nil })
	change(h, group, func(g *v1alpha1.SourceGroup) {
		g.Spec.Command, g.Spec.FileName, g.Spec.Includes = nil, "", []string{"/etc"}
	})
	h.run("web-1")
	h.wantCondition("web-1", "AllowedByMachine", "absent")
}

func TestBadCredentialsAreToldAndTheSetInForceStays(t *testing.T) {
	h := newHarness(t)
	a := newAgent(t)
	h.create(newHost("web-1"))
	h.run("web-1")
	h.wantCondition("web-1", "Ready", "False CredentialsMissing", `Secret "repo"`, "RESTIC_PASSWORD", v1alpha1.LabelCredentials)
	h.wantCondition("web-1", "Stalled", "absent")

	unlabelled := newSecret()
	unlabelled.Labels = nil
	h.create(unlabelled)
	if result := h.run("web-1"); result.RequeueAfter != missingSecretDelay {
		t.Errorf("looks again after %s", result.RequeueAfter)
	}
	h.wantCondition("web-1", "Ready", "False CredentialsNotLabeled", "label secret repo")

	t.Log("enrolment does not wait for credentials")
	h.enrolHost("web-1", a)
	if h.set("web-1") != nil {
		t.Error("published without credentials")
	}
	change(h, unlabelled, func(s *corev1.Secret) { s.Labels = map[string]string{v1alpha1.LabelCredentials: "true"} })
	h.run("web-1")
	h.wantCondition("web-1", "Ready", "True Published")
	published := h.set("web-1")

	change(h, unlabelled, func(s *corev1.Secret) { s.Data["RESTIC_PASSWORD_COMMAND"] = []byte("id") })
	h.run("web-1")
	h.wantCondition("web-1", "Ready", "False CredentialsInvalid", "RESTIC_PASSWORD_COMMAND", "repo")
	h.wantCondition("web-1", "Stalled", "True CredentialsInvalid")
	if h.set("web-1").ResourceVersion != published.ResourceVersion {
		t.Error("the set in force was touched")
	}
	delete(unlabelled.Data, "RESTIC_PASSWORD_COMMAND")
	if err := h.admin.Update(t.Context(), unlabelled); err != nil {
		t.Fatal(err)
	}
	h.run("web-1")
	h.wantCondition("web-1", "Ready", "True Published")
	h.wantCondition("web-1", "Stalled", "absent")

	t.Log("a replaced identity must go even while credentials are bad")
	change(h, unlabelled, func(s *corev1.Secret) { s.Labels[v1alpha1.LabelCredentials] = "no" })
	other := newAgent(t)
	change(h, h.host("web-1"), func(host *v1alpha1.Host) { host.Spec.Identity = convert.HostIdentity(&other.identity) })
	h.run("web-1")
	if h.set("web-1") != nil {
		t.Error("the gateway would still let in the machine that was replaced")
	}
}

func TestATamperedSetIsReplaced(t *testing.T) {
	tests := map[string]func(*v1alpha1.ScheduleSet){
		"bundle":     func(s *v1alpha1.ScheduleSet) { s.Spec.Bundle = strings.Replace(s.Spec.Bundle, "/etc", "/home", 1) },
		"signature":  func(s *v1alpha1.ScheduleSet) { s.Spec.Signatures = nil },
		"identity":   func(s *v1alpha1.ScheduleSet) { s.Spec.Host.Identity = *convert.HostIdentity(machine(9)) },
		"suspended":  func(s *v1alpha1.ScheduleSet) { s.Spec.Host.Suspended = true },
		"schedules":  func(s *v1alpha1.ScheduleSet) { s.Spec.Schedules = nil },
		"credential": func(s *v1alpha1.ScheduleSet) { s.Spec.Credentials[0].Sealed = "AAAA" },
	}
	h := newHarness(t)
	a := newAgent(t)
	h.create(newSecret(), newHost("web-1"), newGroup("etc"), newSchedule("nightly", "etc"))
	h.enrolHost("web-1", a)
	for name, tamper := range tests {
		t.Run(name, func(t *testing.T) {
			object := h.set("web-1")
			tamper(object)
			if object.Spec.Signatures == nil {
				object.Spec.Signatures = []v1alpha1.Signature{}
			}
			if err := h.admin.Update(t.Context(), object); err != nil {
				t.Fatal(err)
			}
			h.run("web-1")
			set, _ := h.bundle("web-1", a)
			if now := h.set("web-1"); len(set.Schedules) != 1 || len(now.Spec.Schedules) != 1 || now.Spec.Host.Suspended || now.Spec.Host.Identity != *convert.HostIdentity(&a.identity) {
				t.Errorf("still tampered with: %+v", now.Spec)
			}
		})
	}
}

// It is a third of what a write of the set costs the API server, and nobody decides from them.
func TestASetThatChangesHasNoManagedFieldsAnyMore(t *testing.T) {
	h := newHarness(t)
	a := newAgent(t)
	h.create(newSecret(), newHost("web-1"), newGroup("etc"))
	h.enrolHost("web-1", a)
	wantNone := func(after string) {
		t.Helper()
		if entries := h.set("web-1").ManagedFields; len(entries) > 0 {
			t.Errorf("%s it has %d entries, of %s", after, len(entries), entries[0].Manager)
		}
	}
	first := h.set("web-1")
	if len(first.ManagedFields) == 0 {
		t.Fatal("a created set has none: nothing here shows that they are forgotten")
	}
	h.create(newSchedule("nightly", "etc"))
	h.run("web-1")
	changed := h.set("web-1")
	if changed.Generation == first.Generation {
		t.Fatal("the set did not change")
	}
	wantNone("changed by the controllers,")
	changeStatus(h, changed, func(s *v1alpha1.ScheduleSet) { s.Status.AppliedRevision = s.Spec.Revision })
	wantNone("with a status of the gateway,")

	t.Log("what somebody applies is forgotten with the next change")
	applied := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": v1alpha1.GroupVersion.String(), "kind": "ScheduleSet",
		"metadata": map[string]any{"name": "web-1", "namespace": h.namespace, "labels": map[string]any{"by": "hand"}},
	}}
	if err := h.admin.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(applied), client.FieldOwner("somebody")); err != nil {
		t.Fatal(err)
	}
	schedule := &v1alpha1.Schedule{}
	h.get("nightly", schedule)
	change(h, schedule, func(s *v1alpha1.Schedule) { s.Spec.Suspend = true })
	h.run("web-1")
	wantNone("changed after it was applied,")
	if h.set("web-1").Labels["by"] != "hand" {
		t.Error("what was applied is gone")
	}
}

func TestASetThatBelongsToNobodyIsReplaced(t *testing.T) {
	h := newHarness(t)
	a := newAgent(t)
	squatter := &v1alpha1.ScheduleSet{ObjectMeta: metav1.ObjectMeta{Name: "web-1"}}
	squatter.Spec = v1alpha1.ScheduleSetSpec{
		Host: v1alpha1.ScheduleSetHost{Name: "web-1", Identity: *convert.HostIdentity(machine(9))}, Revision: "r", Serial: 1, Bundle: "{}", Signatures: []v1alpha1.Signature{},
	}
	h.create(newSecret(), newHost("web-1"), squatter)
	h.enrolHost("web-1", a)
	h.bundle("web-1", a)
	if now := h.set("web-1"); now.UID == squatter.UID || now.Spec.Host.UID != string(h.host("web-1").UID) {
		t.Errorf("the set is for %+v", now.Spec.Host)
	}
	h.wantCondition("web-1", "Ready", "True Published")
}

func TestConditionsFollowTheSetsStatus(t *testing.T) {
	h := newHarness(t)
	h.create(newSecret(), newHost("web-1"), newGroup("etc"))
	h.enrolHost("web-1", newAgent(t))
	changeStatus(h, h.set("web-1"), func(s *v1alpha1.ScheduleSet) {
		s.Status.AppliedRevision = s.Spec.Revision
		s.Status.Connection = &v1alpha1.Connection{Gateway: "g1", Session: 1, Process: "p", ConnectedTime: metav1.Now()}
	})
	h.run("web-1")
	h.wantCondition("web-1", "ScheduleSetApplied", "True Applied")
	h.wantCondition("web-1", "Connected", "True SessionEstablished")
	h.wantCondition("web-1", "ClockSynchronised", "Unknown NotReported")

	said := &v1alpha1.AgentStatus{Version: "v1", Protocol: 1, ResticVersion: "0.19.1", OS: "linux", Arch: "amd64", Hostname: "a", ClockSkewSeconds: 90}
	changeStatus(h, h.set("web-1"), func(s *v1alpha1.ScheduleSet) { s.Status.Agent = said })
	h.run("web-1")
	if diff := cmp.Diff(said, h.host("web-1").Status.Agent); diff != "" {
		t.Errorf("what the agent said of itself: %s", diff)
	}
	h.wantCondition("web-1", "ClockSynchronised", "False Skewed")
	changeStatus(h, h.set("web-1"), func(s *v1alpha1.ScheduleSet) { s.Status.Agent = nil }) // as an older gateway leaves it
	h.run("web-1")
	if h.host("web-1").Status.Agent == nil {
		t.Error("it is forgotten")
	}

	t.Log("a change does not flap ScheduleSetApplied")
	h.create(newSchedule("nightly", "etc"))
	h.run("web-1")
	h.wantCondition("web-1", "ScheduleSetApplied", "True Applied")
	h.clock.Step(applyGrace + time.Second)
	h.run("web-1")
	h.wantCondition("web-1", "ScheduleSetApplied", "False Pending")

	set := changeStatus(h, h.set("web-1"), func(s *v1alpha1.ScheduleSet) {
		s.Status.Refusal = &v1alpha1.Refusal{Revision: s.Spec.Revision, Reason: "StorageFailed", Message: "the disk is full", Time: metav1.Now()}
	})
	h.run("web-1")
	h.wantCondition("web-1", "ScheduleSetApplied", "False RefusedByAgent", "StorageFailed", "the disk is full", "stays in force")

	changeStatus(h, set, func(s *v1alpha1.ScheduleSet) {
		s.Status.Connection.DisconnectedTime = &metav1.Time{Time: h.clock.Now()}
	})
	h.run("web-1")
	h.wantCondition("web-1", "Connected", "False Disconnected")
}

// etcd was restored from a backup, and the machine has a set that was published after it.
func TestASetThatTheMachineHasOutrunIsSignedAnew(t *testing.T) {
	h := newHarness(t)
	a := newAgent(t)
	h.create(newSecret(), newHost("web-1"))
	h.enrolHost("web-1", a)
	h.run("web-1")
	before := h.set("web-1")
	if before == nil {
		t.Fatal("there is no set")
	}
	refuse := func(reason wire.RefusalReason) {
		t.Helper()
		changeStatus(h, h.set("web-1"), func(set *v1alpha1.ScheduleSet) {
			set.Status.Refusal = &v1alpha1.Refusal{Revision: set.Spec.Revision, Reason: string(reason), Time: metav1.NewTime(h.clock.Now())}
		})
		h.run("web-1")
	}
	h.clock.Step(time.Hour)
	refuse(wire.RefusalBadSignature)
	if now := h.set("web-1"); now.Spec.Serial != before.Spec.Serial {
		t.Error("another refusal had it signed anew")
	}
	refuse(wire.RefusalOlderSerial)
	now := h.set("web-1")
	if now.Spec.Revision != before.Spec.Revision || now.Spec.Serial != h.clock.Now().UnixMicro() {
		t.Errorf("revision %s and serial %d, want %s and the time", now.Spec.Revision, now.Spec.Serial, before.Spec.Revision)
	}
	h.clock.Step(30 * time.Second)
	refuse(wire.RefusalOlderSerial)
	if again := h.set("web-1"); again.ResourceVersion == now.ResourceVersion || again.Spec.Serial != now.Spec.Serial {
		t.Error("a machine that refuses all the time has it signed more than once a minute")
	}
}
