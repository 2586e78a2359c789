package gatewaycert

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/tlspin"
	"github.com/restic-manager/restic-manager/controllers/internal/pki"
	"github.com/restic-manager/restic-manager/controllers/internal/tidings"
	"github.com/restic-manager/restic-manager/test/env"
)

func TestMain(m *testing.M) { os.Exit(env.Main(m)) }

const (
	patience = 30 * time.Second
	name     = "gateway-tls"
	host     = "gateway.example.com"
)

type fixture struct {
	t         *testing.T
	admin     client.WithWatch
	namespace string
	clock     *clocktesting.FakeClock
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	cp := env.Shared(t)
	admin, err := client.NewWithWatch(cp.RESTConfig(), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return &fixture{t: t, admin: admin, namespace: cp.NewNamespace(t, "gatewaycert"), clock: clocktesting.NewFakeClock(time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC))}
}

func (f *fixture) keeper() *Keeper {
	return &Keeper{Client: f.admin, Namespace: f.namespace, Name: name, Names: []string{host}, Clock: f.clock, Log: logr.Discard(), News: &tidings.News{}}
}

// start runs a leader; the returned function waits for its end.
func (f *fixture) start() (*Keeper, func() error) {
	f.t.Helper()
	k := f.keeper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- k.Start(ctx) }()
	stopped := false
	stop := func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		return <-ended
	}
	f.t.Cleanup(func() { _ = stop() })
	return k, stop
}

func (f *fixture) get(ctx context.Context, name string) (*corev1.Secret, error) {
	secret := &corev1.Secret{}
	return secret, f.admin.Get(ctx, types.NamespacedName{Namespace: f.namespace, Name: name}, secret)
}

// held waits until both Secrets hold something that is wanted, and what is pinned is what they hold.
func (f *fixture) held(what string, k *Keeper, wanted func(pki.Material) bool) pki.Material {
	f.t.Helper()
	var m pki.Material
	env.Eventually(f.t, patience, what, func(ctx context.Context) error {
		f.clock.Step(time.Second)
		shown, err := f.get(ctx, name)
		if err != nil {
			return err
		}
		authority, err := f.get(ctx, name+authoritySuffix)
		if err != nil {
			return err
		}
		all := maps.Clone(shown.Data)
		all[pki.EntryAuthorityKey] = authority.Data[pki.EntryAuthorityKey]
		var problems []string
		if m, problems = pki.Parse(all); len(problems) > 0 {
			return errors.New(strings.Join(problems, "; "))
		}
		if shown.Type != corev1.SecretTypeTLS || !bytes.Equal(shown.Data[pki.EntryBundle], authority.Data[pki.EntryBundle]) || len(shown.Data) != 3 {
			return fmt.Errorf("the Secret that is mounted is %s with %v", shown.Type, slices.Sorted(maps.Keys(shown.Data)))
		}
		var pins []string
		for _, a := range m.Authorities {
			pins = append(pins, tlspin.Pin(a.Certificate))
		}
		slices.Sort(pins)
		if !slices.Equal(pins, k.Pins()) {
			return fmt.Errorf("pins are %v, want %v", k.Pins(), pins)
		}
		if !wanted(m) {
			return fmt.Errorf("%d authorities, certificate of %s", len(m.Authorities), pki.MadeAt(m.Certificate.Leaf))
		}
		return nil
	})
	return m
}

func anything(pki.Material) bool { return true }

// trusts does what a machine does that knows some pins.
func (f *fixture) trusts(m pki.Material, pins []string) error {
	f.t.Helper()
	config, err := tlspin.Config(host, pins)
	if err != nil {
		f.t.Fatal(err)
	}
	var chain []*x509.Certificate
	for _, raw := range m.Certificate.Certificate {
		certificate, err := x509.ParseCertificate(raw)
		if err != nil {
			f.t.Fatal(err)
		}
		chain = append(chain, certificate)
	}
	return config.VerifyConnection(tls.ConnectionState{PeerCertificates: chain})
}

func TestTheGatewayGetsACertificateThatMachinesCanPin(t *testing.T) {
	f := newFixture(t)
	f.clock.SetTime(time.Now()) // machines verify by their own clock
	k, stop := f.start()
	m := f.held("there is a certificate", k, anything)
	<-k.News.Known()
	if err := f.trusts(m, k.Pins()); err != nil {
		t.Errorf("a machine with the pins refuses it: %v", err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	// The next leader agrees.
	next, _ := f.start()
	f.held("the next leader pins the same", next, func(now pki.Material) bool { return now.Certificate.Leaf.Equal(m.Certificate.Leaf) })
	if !slices.Equal(next.Pins(), k.Pins()) {
		t.Error("the next leader pins another authority")
	}
	f.clock.Step(60 * day)
	f.held("the certificate is renewed, by the same authority", next, func(now pki.Material) bool {
		return !now.Certificate.Leaf.Equal(m.Certificate.Leaf) && len(now.Authorities) == 1
	})
}

func TestASecretOfSomebodyElseIsLeftAlone(t *testing.T) {
	for _, taken := range []string{name, name + authoritySuffix} {
		f := newFixture(t)
		foreign := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: taken}, Data: map[string][]byte{"tls.crt": []byte("theirs")}}
		if err := f.admin.Create(t.Context(), foreign); err != nil {
			t.Fatal(err)
		}
		for what, err := range map[string]error{"the check": Check(t.Context(), f.admin, f.namespace, name), "the keeper": f.keeper().Start(t.Context())} {
			if err == nil || !strings.Contains(err.Error(), Flag) || !strings.Contains(err.Error(), f.namespace+"/"+taken) {
				t.Errorf("%s says %v", what, err)
			}
		}
		now, err := f.get(t.Context(), taken)
		if err != nil || now.ResourceVersion != foreign.ResourceVersion {
			t.Errorf("it was written: %v", err)
		}
		other := map[string]string{name: name + authoritySuffix, name + authoritySuffix: name}[taken]
		if _, err := f.get(t.Context(), other); !apierrors.IsNotFound(err) {
			t.Errorf("the Secret %s was made: %v", other, err)
		}
	}
}

func TestALostAuthorityStaysPinnedAndItsCertificateInUse(t *testing.T) {
	f := newFixture(t)
	k, _ := f.start()
	first := f.held("there is a certificate", k, anything)
	secret, err := f.get(t.Context(), name+authoritySuffix)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.admin.Delete(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	now := f.held("there are two authorities", k, func(m pki.Material) bool { return len(m.Authorities) == 2 })
	if !now.Certificate.Leaf.Equal(first.Certificate.Leaf) || !now.Authorities[1].Certificate.Equal(first.Authorities[0].Certificate) {
		t.Error("the certificate was replaced by one that machines do not know, or the old authority is not pinned")
	}
	if secret, err = f.get(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	if err := f.admin.Delete(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	f.held("a deleted certificate is made again", k, func(m pki.Material) bool { return !m.Certificate.Leaf.Equal(first.Certificate.Leaf) })
}
