package certs

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	testingclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/controllers/internal/pki"
	"github.com/restic-manager/restic-manager/test/env"
)

func TestMain(m *testing.M) { os.Exit(env.Main(m)) }

const (
	patience = 30 * time.Second
	day      = 24 * time.Hour
)

var (
	began = time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC)
	names = []string{"webhook.example.svc"}
)

// fixture is a namespace of the operator with a configuration of its own, and replicas by one clock.
type fixture struct {
	t             *testing.T
	cp            *env.ControlPlane
	admin         client.WithWatch
	namespace     string
	configuration *admissionregistrationv1.ValidatingWebhookConfiguration
	clock         *testingclock.FakeClock

	mu  sync.Mutex
	log []string
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	cp := env.Shared(t)
	f := &fixture{t: t, cp: cp, admin: newClient(t, cp.RESTConfig()), namespace: cp.NewNamespace(t, "certs"), clock: testingclock.NewFakeClock(began)}
	f.configuration = &admissionregistrationv1.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: f.namespace}}
	for _, name := range []string{"hosts", "schedules"} {
		f.configuration.Webhooks = append(f.configuration.Webhooks, admissionregistrationv1.ValidatingWebhook{
			Name: name + ".backup.restic-manager.io", AdmissionReviewVersions: []string{"v1"}, SideEffects: new(admissionregistrationv1.SideEffectClassNone),
			ClientConfig: admissionregistrationv1.WebhookClientConfig{URL: new("https://127.0.0.1:1/validate/" + name)},
		})
	}
	return f
}

func (f *fixture) createConfiguration() {
	f.t.Helper()
	if err := f.admin.Create(f.t.Context(), f.configuration.DeepCopy()); err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() {
		if err := f.admin.Delete(context.Background(), f.configuration); err != nil {
			f.t.Error(err)
		}
	})
}

func newClient(t *testing.T, config *rest.Config) client.WithWatch {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	c, err := client.NewWithWatch(config, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// start runs a replica until the test ends.
func (f *fixture) start(c client.WithWatch) *Keeper {
	f.t.Helper()
	k := &Keeper{Client: c, Namespace: f.namespace, Configuration: f.configuration.Name, Names: names, Clock: f.clock, Log: f.logger()}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- k.Start(ctx) }()
	f.t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			f.t.Errorf("a replica ended: %v", err)
		}
	})
	return k
}

func (f *fixture) logger() logr.Logger {
	return funcr.New(func(_, args string) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.log = append(f.log, args)
	}, funcr.Options{})
}

// logged counts the lines that hold all parts.
func (f *fixture) logged(parts ...string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, line := range f.log {
		all := true
		for _, part := range parts {
			all = all && strings.Contains(line, part)
		}
		if all {
			n++
		}
	}
	return n
}

func (f *fixture) eventually(what string, cond func(context.Context) error) {
	f.t.Helper()
	env.Eventually(f.t, patience, what, cond)
}

func (f *fixture) secret(ctx context.Context) (*corev1.Secret, error) {
	secret := &corev1.Secret{}
	return secret, f.admin.Get(ctx, client.ObjectKey{Namespace: f.namespace, Name: SecretName}, secret)
}

// agree waits until all replicas show the certificate in the Secret, the configuration has its authorities, and what is in force is as wanted; it returns that.
func (f *fixture) agree(what string, wanted func(pki.Material) bool, replicas ...*Keeper) pki.Material {
	f.t.Helper()
	var m pki.Material
	f.eventually(what, func(ctx context.Context) error {
		f.clock.Step(time.Second) // a timer that was set for a time which had passed
		secret, err := f.secret(ctx)
		if err != nil {
			return err
		}
		var problems []string
		if m, problems = pki.Parse(secret.Data); len(problems) > 0 {
			return errors.New(strings.Join(problems, "; "))
		}
		for i, k := range replicas {
			shown, err := k.GetCertificate(nil)
			if err != nil || !shown.Leaf.Equal(m.Certificate.Leaf) {
				return fmt.Errorf("replica %d shows another certificate, %w", i, err)
			}
		}
		now := &admissionregistrationv1.ValidatingWebhookConfiguration{}
		if err := f.admin.Get(ctx, client.ObjectKeyFromObject(f.configuration), now); err != nil {
			return err
		}
		for _, w := range now.Webhooks {
			if !bytes.Equal(w.ClientConfig.CABundle, m.Bundle()) {
				return fmt.Errorf("caBundle of %s differs", w.Name)
			}
		}
		if !wanted(m) {
			return fmt.Errorf("all agree on %d authorities and a certificate of %s", len(m.Authorities), pki.MadeAt(m.Certificate.Leaf))
		}
		return nil
	})
	return m
}

func anything(pki.Material) bool { return true }

// notOf wants another certificate than an earlier one.
func notOf(earlier pki.Material) func(pki.Material) bool {
	return func(m pki.Material) bool { return !m.Certificate.Leaf.Equal(earlier.Certificate.Leaf) }
}

func TestReplicasThatRaceAgree(t *testing.T) {
	f := newFixture(t)
	f.createConfiguration()
	replicas := []*Keeper{f.start(f.admin), f.start(f.admin), f.start(f.admin), f.start(f.admin)}
	m := f.agree("all show one certificate", anything, replicas...)
	if len(m.Authorities) != 1 {
		t.Errorf("there are %d authorities", len(m.Authorities))
	}
	if n := f.logged("made for the webhook: authority and certificate"); n != 1 {
		t.Errorf("%d replicas made the first certificate", n)
	}
	for _, k := range replicas {
		f.eventually("it is ready", func(context.Context) error { return k.Ready(nil) })
	}

	f.clock.Step(60 * day)
	renewed := f.agree("all show the renewed certificate", notOf(m), replicas...)
	if !renewed.Authorities[0].Certificate.Equal(m.Authorities[0].Certificate) {
		t.Error("the authority was renewed, too")
	}

	secret, err := f.secret(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := f.admin.Delete(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	again := f.agree("all show what was made after somebody deleted the Secret", notOf(renewed), replicas...)
	if again.Authorities[0].Certificate.Equal(m.Authorities[0].Certificate) {
		t.Error("the authority is still the first one")
	}
}

func TestTheBundleHoldsOldAndNew(t *testing.T) {
	f := newFixture(t)
	f.createConfiguration()
	k := f.start(f.admin)
	first := f.agree("there is a certificate", anything, k)
	// Two thirds of the authority's life, in steps in which certificates are renewed.
	m := first
	for range 4 {
		f.clock.Step(60 * day)
		m = f.agree("the certificate is renewed", notOf(m), k)
	}
	f.clock.Step(4 * day)
	m = f.agree("there is another authority", func(m pki.Material) bool { return len(m.Authorities) == 2 }, k)
	if !m.Authorities[1].Certificate.Equal(first.Authorities[0].Certificate) || m.SignedByNewest() {
		t.Error("the first authority is not kept beside the new one, or the new one signs already")
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(m.Bundle())
	if _, err := m.Certificate.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: names[0], CurrentTime: f.clock.Now()}); err != nil {
		t.Error(err)
	}
}

func TestWhatSomebodyBrokeIsMended(t *testing.T) {
	f := newFixture(t)
	f.createConfiguration()
	k := f.start(f.admin)
	m := f.agree("there is a certificate", anything, k)

	configuration := &admissionregistrationv1.ValidatingWebhookConfiguration{}
	if err := f.admin.Get(t.Context(), client.ObjectKeyFromObject(f.configuration), configuration); err != nil {
		t.Fatal(err)
	}
	configuration.Webhooks[0].ClientConfig.CABundle = nil
	if err := f.admin.Update(t.Context(), configuration); err != nil {
		t.Fatal(err)
	}
	f.agree("the authority is in the configuration again", anything, k)

	secret, err := f.secret(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	secret.Data[pki.EntryCertificate] = []byte("nonsense")
	if err := f.admin.Update(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	mended := f.agree("there is a certificate again", notOf(m), k)
	if !mended.Authorities[0].Certificate.Equal(m.Authorities[0].Certificate) {
		t.Error("the authority was replaced, although nothing was wrong with it")
	}
	if f.logged("replaced in the webhook's Secret what could not be used", "tls.crt and tls.key are not a certificate and its key") != 1 {
		t.Errorf("the log does not say so: %q", f.log)
	}
}

func TestASecretThatCannotBeChangedIsTold(t *testing.T) {
	f := newFixture(t)
	f.createConfiguration()
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: SecretName}, Immutable: new(true), Data: map[string][]byte{"ca.crt": []byte("nonsense")}}
	if err := f.admin.Create(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	k := f.start(f.admin)
	f.eventually("it is told", func(context.Context) error {
		if f.logged("cannot look after the admission webhook", SecretName, "immutable", `"retryAfter"="10m0s"`) != 1 {
			return fmt.Errorf("%q", f.log)
		}
		return k.Ready(nil)
	})
	if _, err := k.GetCertificate(nil); err == nil {
		t.Error("it shows a certificate that others cannot know")
	}
	if err := f.admin.Delete(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	f.agree("a Secret in its place", anything, k)
	if f.logged("is looked after again") != 1 {
		t.Errorf("the log does not say so: %q", f.log)
	}
}

func TestAConfigurationMayComeLater(t *testing.T) {
	f := newFixture(t)
	k := f.start(f.admin)
	f.eventually("it is told", func(context.Context) error {
		if f.logged("cannot look after the admission webhook", "the ValidatingWebhookConfiguration "+f.namespace+": there is none: apply config/webhook") != 1 {
			return fmt.Errorf("%q", f.log)
		}
		return k.Ready(nil)
	})
	if _, err := k.GetCertificate(nil); err != nil {
		t.Errorf("it waits with the certificate: %v", err)
	}
	f.createConfiguration()
	f.agree("it has the authority", anything, k)
	if n := f.logged("cannot look after"); n != 1 {
		t.Errorf("it was told %d times: %q", n, f.log)
	}
}

// With the rights of nobody, then with those of an installation.
func TestPermissionsMayComeLater(t *testing.T) {
	f := newFixture(t)
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: "controller"}}
	if err := f.admin.Create(t.Context(), account); err != nil {
		t.Fatal(err)
	}
	config, _, err := f.cp.ServiceAccountConfig(t.Context(), f.namespace, account.Name)
	if err != nil {
		t.Fatal(err)
	}
	f.createConfiguration()
	k := f.start(newClient(t, config))
	f.eventually("it is told", func(context.Context) error {
		if f.logged("cannot look after the admission webhook", "forbidden", `"retryAfter"="10m0s"`) != 1 {
			return fmt.Errorf("%q", f.log)
		}
		return k.Ready(nil)
	})

	role := installedRules(t, f.cp, f.configuration.Name)
	role.Namespace, role.Name = f.namespace, "controller"
	cluster := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: f.namespace}, Rules: role.Rules}
	subjects := []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: f.namespace, Name: account.Name}}
	for _, object := range []client.Object{
		cluster,
		&rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: f.namespace}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: cluster.Name}, Subjects: subjects},
	} {
		if err := f.admin.Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.admin.Delete(context.Background(), object) })
	}
	f.eventually("it does its work", func(ctx context.Context) error {
		f.clock.Step(retryPause) // the role takes a moment
		_, err := k.GetCertificate(nil)
		return err
	})
	f.agree("it has all rights", anything, k)
}

// installedRules are those of config/rbac that a Keeper needs, for a configuration of another name.
func installedRules(t *testing.T, cp *env.ControlPlane, configuration string) *rbacv1.Role {
	t.Helper()
	root, err := env.Root()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cp.Kubectl(t.Context(), "apply", "--server-side", "-f", filepath.Join(root, "config/default/namespace.yaml")); err != nil {
		t.Fatal(err)
	}
	if _, err := cp.Kubectl(t.Context(), "apply", "--server-side", "-f", filepath.Join(root, "config/rbac/controller_role.yaml")); err != nil {
		t.Fatal(err)
	}
	installed, err := cp.Client().RbacV1().Roles("restic-manager-system").Get(t.Context(), "restic-manager-controller", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	cluster, err := cp.Client().RbacV1().ClusterRoles().Get(t.Context(), "restic-manager-controller", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	role := &rbacv1.Role{Rules: installed.Rules}
	for _, rule := range cluster.Rules {
		if len(rule.Resources) == 1 && rule.Resources[0] == "validatingwebhookconfigurations" {
			rule.ResourceNames = []string{configuration}
			role.Rules = append(role.Rules, rule)
		}
	}
	return role
}

func TestAnOutageOfTheAPIServerIsSurvived(t *testing.T) {
	f := newFixture(t)
	f.createConfiguration()
	k := f.start(f.admin)
	m := f.agree("there is a certificate", anything, k)
	if err := f.cp.StopAPIServer(); err != nil {
		t.Fatal(err)
	}
	f.eventually("it is told", func(context.Context) error {
		if f.logged("cannot look after the admission webhook", `"retryAfter"="15s"`) != 1 {
			return fmt.Errorf("%q", f.log)
		}
		return nil
	})
	if shown, err := k.GetCertificate(&tls.ClientHelloInfo{}); err != nil || !shown.Leaf.Equal(m.Certificate.Leaf) {
		t.Errorf("it shows %v, %v", shown, err)
	}
	if err := f.cp.StartAPIServer(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.eventually("it goes on", func(context.Context) error {
		f.clock.Step(outagePause)
		if f.logged("is looked after again") != 1 {
			return fmt.Errorf("%q", f.log)
		}
		return nil
	})
}
