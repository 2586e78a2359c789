package controllers_test

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/tlspin"
	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/controllers/signing"
	"github.com/restic-manager/restic-manager/test/env"
)

// newOperatorOf sees one namespace alone: what other tests left has no say.
func newOperatorOf(t *testing.T, edit func(*operator)) *operator {
	t.Helper()
	o := newOperator(t)
	o.stop()
	o.watched = []string{o.namespace}
	if edit != nil {
		edit(o)
	}
	o.start()
	return o
}

func (o *operator) keySecret(ctx context.Context) (*corev1.Secret, error) {
	secret := &corev1.Secret{}
	return secret, o.admin.Get(ctx, types.NamespacedName{Namespace: operatorNamespace, Name: signing.SecretName}, secret)
}

// annotateKeys does what a person does with kubectl.
func (o *operator) annotateKeys(name, value string) {
	o.t.Helper()
	secret, err := o.keySecret(o.t.Context())
	if err != nil {
		o.t.Fatal(err)
	}
	base := secret.DeepCopy()
	metav1.SetMetaDataAnnotation(&secret.ObjectMeta, name, value)
	if err := o.admin.Patch(o.t.Context(), secret, client.MergeFrom(base)); err != nil {
		o.t.Fatal(err)
	}
}

// wantRotation waits for what the annotation says, and steps the clock meanwhile.
func (o *operator) wantRotation(what string, wanted func(signing.Record, *signing.Keys) bool) (signing.Record, *signing.Keys) {
	o.t.Helper()
	var record signing.Record
	var keys *signing.Keys
	env.Eventually(o.t, patience, what, func(ctx context.Context) error {
		o.clock.Step(20 * time.Second)
		secret, err := o.keySecret(ctx)
		if err != nil {
			return err
		}
		if keys, err = signing.Load(secret); err != nil {
			return err
		}
		record = signing.Record{}
		if err := json.Unmarshal([]byte(secret.Annotations[v1alpha1.AnnotationSigningKeyRotation]), &record); err != nil {
			return err
		}
		if !wanted(record, keys) {
			return fmt.Errorf("record %+v, keys %+v", record, keys.Entries())
		}
		return nil
	})
	return record, keys
}

// wantBundle waits for a set that trusts these keys, signed by those.
func (o *operator) wantBundle(what, name string, trusted, signed []string) *v1alpha1.ScheduleSet {
	o.t.Helper()
	set := &v1alpha1.ScheduleSet{}
	env.Eventually(o.t, patience, what, func(ctx context.Context) error {
		if err := o.admin.Get(ctx, types.NamespacedName{Namespace: o.namespace, Name: name}, set); err != nil {
			return err
		}
		bundle, err := wire.ParseScheduleSet(set.Spec.Bundle)
		if err != nil {
			return err
		}
		var gotTrusted, gotSigned []string
		for _, k := range bundle.SigningKeys {
			gotTrusted = append(gotTrusted, k.KeyID)
		}
		for _, s := range set.Spec.Signatures {
			gotSigned = append(gotSigned, s.KeyID)
		}
		for _, ids := range [][]string{gotTrusted, gotSigned, trusted, signed} {
			slices.Sort(ids)
		}
		if !slices.Equal(gotTrusted, trusted) || !slices.Equal(gotSigned, signed) {
			return fmt.Errorf("trusts %v, signed by %v, want %v and %v", gotTrusted, gotSigned, trusted, signed)
		}
		return nil
	})
	return set
}

// apply has a Host's machine apply what is published.
func (o *operator) apply(name string) {
	o.t.Helper()
	changeStatus(o, name, &v1alpha1.ScheduleSet{}, func(set *v1alpha1.ScheduleSet) { set.Status.AppliedRevision = set.Spec.Revision })
}

func TestASigningKeyIsRotated(t *testing.T) {
	o := newOperatorOf(t, nil)
	o.create(credentialsSecret(), enrolledHost(t, "web-1"), enrolledHost(t, "web-2"))
	secret, err := o.keySecret(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	before, err := signing.Load(secret)
	if err != nil {
		t.Fatal(err)
	}
	old := before.Entries()[0].KeyID
	o.wantBundle("a set is signed by the one key", "web-1", []string{old}, []string{old})

	o.annotateKeys(v1alpha1.AnnotationRotateSigningKey, "first")
	record, keys := o.wantRotation("both keys sign, and both machines are waited for", func(r signing.Record, k *signing.Keys) bool {
		return r.Phase == signing.PhaseAnnounced && r.Waiting >= 2 && len(k.Entries()) == 2 && slices.Contains(r.WaitingFor, o.namespace+"/web-1")
	})
	fresh := keys.Entries()[1].KeyID
	if record.NewKey != fresh || !slices.Equal(record.OldKeys, []string{old}) || record.Next == "" {
		t.Errorf("the record is %+v", record)
	}
	both := []string{old, fresh}
	o.wantBundle("the first set announces the new key", "web-1", both, both)
	o.wantBundle("the second, too", "web-2", both, both)
	o.apply("web-1")
	o.wantRotation("one is left", func(r signing.Record, _ *signing.Keys) bool {
		return r.Waiting == 1 && slices.Equal(r.WaitingFor, []string{o.namespace + "/web-2"})
	})

	// The leader goes, and another one takes over in the middle.
	o.stop()
	o.start()
	o.annotateKeys(v1alpha1.AnnotationRetireSigningKey, old)
	o.wantRotation("a person does not wait for the second", func(r signing.Record, k *signing.Keys) bool {
		return r.Phase == signing.PhaseRetired && len(k.PublicKeys()) == 1 && len(k.Entries()) == 2
	})
	o.wantBundle("machines trust the new key alone, and the old one signs for who sleeps", "web-2", []string{fresh}, both)
	o.wantBundle("that holds for all", "web-1", []string{fresh}, both)
	o.apply("web-1")
	o.apply("web-2")
	o.wantRotation("all have heard, and the overlap lasts", func(r signing.Record, _ *signing.Keys) bool { return r.Phase == signing.PhaseRetired && r.Waiting == 0 })

	// Somebody deletes the Secret: the controllers write it again.
	if secret, err = o.keySecret(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := o.admin.Delete(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	o.wantRotation("the Secret is back", func(r signing.Record, k *signing.Keys) bool { return len(k.Entries()) == 2 && r.Request == "first" })

	versions := map[string]string{}
	for _, name := range []string{"web-1", "web-2"} {
		versions[name] = fetched(o, name, &v1alpha1.ScheduleSet{}).ResourceVersion
	}
	o.clock.Step(signing.DefaultOverlap)
	o.wantRotation("the old key is gone", func(r signing.Record, k *signing.Keys) bool {
		return r.Phase == signing.PhaseDone && len(k.Entries()) == 1 && k.Entries()[0].KeyID == fresh
	})
	for name, version := range versions {
		if now := fetched(o, name, &v1alpha1.ScheduleSet{}).ResourceVersion; now != version {
			t.Errorf("the set of %s was written again for nothing", name)
		}
	}
	env.Eventually(t, patience, "the steps are told", func(ctx context.Context) error {
		out, err := o.cp.Kubectl(ctx, "get", "events", "-n", operatorNamespace, "--field-selector", "involvedObject.name="+signing.SecretName, "-o", "jsonpath={.items[*].reason}")
		if err != nil || out == "" {
			return fmt.Errorf("%q, %w", out, err)
		}
		return nil
	})
}

func TestNoKeyIsMadeWhereSetsWereSignedWithAnother(t *testing.T) {
	o := newOperatorOf(t, nil)
	o.create(credentialsSecret(), enrolledHost(t, "web-1"))
	o.wantSet("there is a set", "web-1", []string{}, []string{})
	o.stop()
	secret, err := o.keySecret(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := o.admin.Delete(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	_, err = signing.LoadOrCreate(t.Context(), o.admin, operatorNamespace, nil)
	if err == nil || !strings.Contains(err.Error(), "restore the Secret from a backup") || !strings.Contains(err.Error(), "make-new") {
		t.Fatalf("the start says %v", err)
	}
	asked := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: operatorNamespace, Name: signing.SecretName}, StringData: map[string]string{signing.EntryMakeNew: "yes"}}
	if err := o.admin.Create(t.Context(), asked); err != nil {
		t.Fatal(err)
	}
	keys, err := signing.LoadOrCreate(t.Context(), o.admin, operatorNamespace, nil)
	if err != nil {
		t.Fatal(err)
	}
	again, err := signing.LoadOrCreate(t.Context(), o.admin, operatorNamespace, nil)
	if err != nil || !slices.EqualFunc(keys.PublicKeys(), again.PublicKeys(), func(a, b wire.SigningKey) bool { return a.KeyID == b.KeyID }) {
		t.Errorf("the second start has other keys: %v", err)
	}
	o.start()
	id := keys.Entries()[0].KeyID
	o.wantBundle("the set is signed anew", "web-1", []string{id}, []string{id})
}

// pinsIn are those of the certificates in an entry of a Secret.
func (o *operator) pinsIn(ctx context.Context, secret, entry string) ([]string, error) {
	found := &corev1.Secret{}
	if err := o.admin.Get(ctx, types.NamespacedName{Namespace: operatorNamespace, Name: secret}, found); err != nil {
		return nil, err
	}
	var pins []string
	for block, rest := pem.Decode(found.Data[entry]); block != nil; block, rest = pem.Decode(rest) {
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		pins = append(pins, tlspin.Pin(certificate))
	}
	slices.Sort(pins)
	return pins, nil
}

func TestTheAuthorityOfTheGatewaysCertificateIsPinned(t *testing.T) {
	const name = "test-gateway-tls"
	o := newOperatorOf(t, func(o *operator) { o.gatewayTLSSecret = name })
	t.Cleanup(func() {
		for _, n := range []string{name, name + "-authority"} {
			_ = o.admin.Delete(context.Background(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: operatorNamespace, Name: n}})
		}
	})
	waiting := enrolledHost(t, "web-2")
	waiting.Spec.Identity = nil
	o.create(credentialsSecret(), enrolledHost(t, "web-1"), waiting)

	wantPins := func(what string, authorities int) []string {
		t.Helper()
		var pins []string
		env.Eventually(t, patience, what, func(ctx context.Context) error {
			o.clock.Step(time.Second)
			var err error
			if pins, err = o.pinsIn(ctx, name, "ca.crt"); err != nil {
				return err
			}
			set := &v1alpha1.ScheduleSet{}
			if err := o.admin.Get(ctx, types.NamespacedName{Namespace: o.namespace, Name: "web-1"}, set); err != nil {
				return err
			}
			bundle, err := wire.ParseScheduleSet(set.Spec.Bundle)
			if err != nil {
				return err
			}
			if len(pins) != authorities || !slices.Equal(bundle.TLSPins, pins) {
				return fmt.Errorf("the Secret has %v, the set pins %v", pins, bundle.TLSPins)
			}
			return nil
		})
		return pins
	}
	first := wantPins("the set pins the authority", 1)
	env.Eventually(t, patience, "the token pins it, too", func(ctx context.Context) error {
		secret := &corev1.Secret{}
		if err := o.admin.Get(ctx, types.NamespacedName{Namespace: o.namespace, Name: v1alpha1.EnrollmentSecretName("web-2")}, secret); err != nil {
			return err
		}
		token, err := wire.ParseToken(string(secret.Data["token"]))
		if err != nil || !slices.Equal(token.TLSPins, first) {
			return fmt.Errorf("token %+v, %w", token, err)
		}
		return nil
	})
	signer := func() string {
		t.Helper()
		chain, err := o.pinsIn(t.Context(), name, "tls.crt")
		if err != nil || len(chain) != 2 {
			t.Fatalf("the chain is %v, %v", chain, err)
		}
		for _, pin := range chain {
			if slices.Contains(first, pin) {
				return "first"
			}
		}
		return "second"
	}
	if signer() != "first" {
		t.Error("the chain does not end with the pinned authority")
	}

	// Another leader, years later.
	o.stop()
	o.clock.Step(3650 * 24 * time.Hour * 2 / 3)
	o.start()
	both := wantPins("the new authority is pinned beside the old one", 2)
	if !slices.Contains(both, first[0]) || signer() != "first" {
		t.Error("the old authority is not pinned, or does not sign any more")
	}
	version := fetched(o, "web-1", &v1alpha1.ScheduleSet{}).ResourceVersion
	o.stop()
	o.clock.Step(300 * 24 * time.Hour)
	o.start()
	wantPins("both are pinned for a year", 2)
	o.stop()
	o.clock.Step(100 * 24 * time.Hour)
	o.start()
	env.Eventually(t, patience, "then the new authority signs", func(context.Context) error {
		if by := signer(); by != "second" {
			return fmt.Errorf("the %s does", by)
		}
		return nil
	})
	if now := fetched(o, "web-1", &v1alpha1.ScheduleSet{}).ResourceVersion; now != version {
		t.Error("a restart wrote the set again for nothing")
	}
}
