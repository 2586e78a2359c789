package certs

import (
	"bytes"
	"crypto/x509"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const day = 24 * time.Hour

var (
	began = time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC)
	names = []string{"webhook.example.svc"}
)

func mustRenew(t *testing.T, m material, names []string, now time.Time) (material, []string) {
	t.Helper()
	renewed, what, err := renew(m, names, now)
	if err != nil {
		t.Fatal(err)
	}
	return renewed, what
}

// verify does what an API server does that knows a bundle.
func verify(t *testing.T, bundle []byte, m material, name string, now time.Time) error {
	t.Helper()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(bundle) {
		t.Fatal("the bundle holds no certificate")
	}
	_, err := m.certificate.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: name, CurrentTime: now})
	return err
}

func TestWhatIsRenewedWhen(t *testing.T) {
	fresh, what := mustRenew(t, material{}, names, began)
	if diff := cmp.Diff([]string{"authority", "certificate"}, what); diff != "" {
		t.Fatalf("at first (-want +got):\n%s", diff)
	}
	for _, tt := range []struct {
		name  string
		edit  func(*material)
		names []string
		after time.Duration
		want  []string
	}{
		{name: "nothing at once"},
		{name: "nothing before two thirds of the certificate's life", after: 60*day - time.Minute},
		{name: "the certificate after two thirds of its life", after: 60 * day, want: []string{"certificate"}},
		{name: "the certificate when it has expired", after: 91 * day, want: []string{"certificate"}},
		{name: "the authority after two thirds of its life; the certificate with it, since it has expired", after: 244 * day, want: []string{"authority", "certificate"}},
		{name: "both when all has expired", after: 400 * day, want: []string{"authority", "certificate"}},
		{name: "the certificate for another name", names: []string{"127.0.0.1"}, after: time.Minute, want: []string{"certificate"}},
		{name: "the certificate when it is lost", edit: func(m *material) { m.certificate = nil }, after: time.Minute, want: []string{"certificate"}},
		{name: "the authority when its key is lost, and not yet the certificate", edit: func(m *material) { m.key = nil }, after: time.Minute, want: []string{"authority"}},
		{name: "both when the authorities are lost", edit: func(m *material) { m.authorities, m.key = nil, nil }, after: time.Minute, want: []string{"authority", "certificate"}},
		{name: "nothing while a clock is behind", after: -3 * day},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := fresh
			if tt.edit != nil {
				tt.edit(&m)
			}
			asked := names
			if tt.names != nil {
				asked = tt.names
			}
			now := began.Add(tt.after)
			renewed, what := mustRenew(t, m, asked, now)
			if diff := cmp.Diff(tt.want, what); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if tt.after >= 0 {
				if err := verify(t, renewed.caBundle(), renewed, asked[0], now); err != nil {
					t.Errorf("an API server refuses it: %v", err)
				}
			}
			if next := next(renewed, asked); tt.after >= 0 && !next.After(now) {
				t.Errorf("it is due again at %s, %s after now", next, next.Sub(now))
			}
			if again, what := mustRenew(t, renewed, asked, now); len(what) > 0 || !bytes.Equal(again.caBundle(), renewed.caBundle()) {
				t.Errorf("a second look renews %v", what)
			}
		})
	}
}

// Three years of a replica that looks when it said it would. An API server that still has the bundle of before takes each certificate.
func TestNoRenewalLeavesAnAPIServerBehind(t *testing.T) {
	now := began
	m, _ := mustRenew(t, material{}, names, now)
	authorities, certificates := 1, 1
	for end := began.Add(3 * 365 * day); now.Before(end); {
		then := next(m, names)
		if !then.After(now) {
			t.Fatalf("after %s it is due at once", now.Sub(began))
		}
		now = then
		before := m.caBundle()
		var what []string
		m, what = mustRenew(t, m, names, now)
		if len(what) == 0 {
			t.Fatalf("after %s there was nothing to do", now.Sub(began))
		}
		if slices.Contains(what, "authority") {
			authorities++
		}
		if slices.Contains(what, "certificate") {
			certificates++
		}
		for _, bundle := range [][]byte{before, m.caBundle()} {
			if err := verify(t, bundle, m, names[0], now); err != nil {
				t.Fatalf("after %s (%v): %v", now.Sub(began), what, err)
			}
		}
		if len(m.authorities) > 2 {
			t.Errorf("after %s the bundle holds %d authorities", now.Sub(began), len(m.authorities))
		}
	}
	t.Logf("%d authorities, %d certificates", authorities, certificates)
	if authorities != 5 || certificates < 18 || certificates > 20 {
		t.Errorf("%d authorities and %d certificates in three years", authorities, certificates)
	}
}

func TestANewAuthorityWaitsBeforeItSigns(t *testing.T) {
	m, _ := mustRenew(t, material{}, names, began)
	m.key = nil // lost
	now := began.Add(61 * day)
	m, what := mustRenew(t, m, names, now)
	if diff := cmp.Diff([]string{"authority"}, what); diff != "" {
		t.Fatalf("the certificate is due too, and good for a while (-want +got):\n%s", diff)
	}
	if due := next(m, names); due != now.Add(settling) {
		t.Errorf("next look after %s", due.Sub(now))
	}
	if _, what := mustRenew(t, m, names, now.Add(settling-time.Second)); what != nil {
		t.Errorf("renewed before API servers had time: %v", what)
	}
	m, what = mustRenew(t, m, names, now.Add(settling))
	if diff := cmp.Diff([]string{"certificate"}, what); diff != "" || !m.signedByNewest() {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestReplicasWithOtherNamesDoNotFight(t *testing.T) {
	a, b := []string{"a.example.svc"}, []string{"b.example.svc", "127.0.0.1"}
	m, _ := mustRenew(t, material{}, a, began)
	m, what := mustRenew(t, m, b, began)
	if len(what) != 1 || lacks(m.certificate.Leaf, a) || lacks(m.certificate.Leaf, b) {
		t.Fatalf("%v: names are %v", what, namesOf(m.certificate.Leaf))
	}
	for _, names := range [][]string{a, b} {
		if _, what := mustRenew(t, m, names, began.Add(time.Hour)); what != nil {
			t.Errorf("the replica with %v renews %v", names, what)
		}
	}
	// Names that nobody asks for go with the next renewal.
	m, _ = mustRenew(t, m, b, began.Add(60*day))
	if got := strings.Join(namesOf(m.certificate.Leaf), " "); got != "b.example.svc 127.0.0.1" {
		t.Errorf("names are %s", got)
	}
}

func TestTheBundleIsBounded(t *testing.T) {
	m, _ := mustRenew(t, material{}, names, began)
	for i := range 10 {
		m.key = nil
		m, _ = mustRenew(t, m, names, began.Add(time.Duration(i)*time.Minute))
		if err := verify(t, m.caBundle(), m, names[0], began.Add(time.Hour)); err != nil {
			t.Fatalf("the authority of the certificate in use was dropped: %v", err)
		}
	}
	if len(m.authorities) != maxAuthorities {
		t.Errorf("it holds %d authorities", len(m.authorities))
	}
}
