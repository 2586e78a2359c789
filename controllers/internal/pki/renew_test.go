package pki

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
	policy = Policy{Subject: "test", AuthorityLife: 365 * day, CertificateLife: 90 * day, Settling: time.Hour}
	began  = time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC)
	names  = []string{"webhook.example.svc"}
)

// loseKeys leaves the authorities as certificates alone.
func loseKeys(m *Material) {
	m.Authorities = slices.Clone(m.Authorities)
	for i := range m.Authorities {
		m.Authorities[i].Key = nil
	}
}

func mustRenew(t *testing.T, m Material, names []string, now time.Time) (Material, []string) {
	t.Helper()
	renewed, what, err := policy.Renew(m, names, now)
	if err != nil {
		t.Fatal(err)
	}
	return renewed, what
}

// verify does what an API server does that knows a bundle.
func verify(t *testing.T, bundle []byte, m Material, name string, now time.Time) error {
	t.Helper()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(bundle) {
		t.Fatal("the bundle holds no certificate")
	}
	_, err := m.Certificate.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: name, CurrentTime: now})
	return err
}

func TestWhatIsRenewedWhen(t *testing.T) {
	fresh, what := mustRenew(t, Material{}, names, began)
	if diff := cmp.Diff([]string{"authority", "certificate"}, what); diff != "" {
		t.Fatalf("at first (-want +got):\n%s", diff)
	}
	for _, tt := range []struct {
		name  string
		edit  func(*Material)
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
		{name: "the certificate when it is lost", edit: func(m *Material) { m.Certificate = nil }, after: time.Minute, want: []string{"certificate"}},
		{name: "the authority when its key is lost, and not yet the certificate", edit: loseKeys, after: time.Minute, want: []string{"authority"}},
		{name: "both when the authorities are lost", edit: func(m *Material) { m.Authorities = nil }, after: time.Minute, want: []string{"authority", "certificate"}},
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
				if err := verify(t, renewed.Bundle(), renewed, asked[0], now); err != nil {
					t.Errorf("an API server refuses it: %v", err)
				}
			}
			if next := policy.Next(renewed, asked); tt.after >= 0 && !next.After(now) {
				t.Errorf("it is due again at %s, %s after now", next, next.Sub(now))
			}
			if again, what := mustRenew(t, renewed, asked, now); len(what) > 0 || !bytes.Equal(again.Bundle(), renewed.Bundle()) {
				t.Errorf("a second look renews %v", what)
			}
		})
	}
}

// Three years of a replica that looks when it said it would. An API server that still has the bundle of before takes each certificate.
func TestNoRenewalLeavesAnAPIServerBehind(t *testing.T) {
	now := began
	m, _ := mustRenew(t, Material{}, names, now)
	authorities, certificates := 1, 1
	for end := began.Add(3 * 365 * day); now.Before(end); {
		then := policy.Next(m, names)
		if !then.After(now) {
			t.Fatalf("after %s it is due at once", now.Sub(began))
		}
		now = then
		before := m.Bundle()
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
		for _, bundle := range [][]byte{before, m.Bundle()} {
			if err := verify(t, bundle, m, names[0], now); err != nil {
				t.Fatalf("after %s (%v): %v", now.Sub(began), what, err)
			}
		}
		if len(m.Authorities) > 2 {
			t.Errorf("after %s the bundle holds %d authorities", now.Sub(began), len(m.Authorities))
		}
	}
	t.Logf("%d authorities, %d certificates", authorities, certificates)
	if authorities != 5 || certificates < 18 || certificates > 20 {
		t.Errorf("%d authorities and %d certificates in three years", authorities, certificates)
	}
}

func TestANewAuthorityWaitsBeforeItSigns(t *testing.T) {
	m, _ := mustRenew(t, Material{}, names, began)
	loseKeys(&m)
	now := began.Add(61 * day)
	m, what := mustRenew(t, m, names, now)
	if diff := cmp.Diff([]string{"authority"}, what); diff != "" {
		t.Fatalf("the certificate is due too, and good for a while (-want +got):\n%s", diff)
	}
	if due := policy.Next(m, names); due != now.Add(policy.Settling) {
		t.Errorf("next look after %s", due.Sub(now))
	}
	if _, what := mustRenew(t, m, names, now.Add(policy.Settling-time.Second)); what != nil {
		t.Errorf("renewed before API servers had time: %v", what)
	}
	m, what = mustRenew(t, m, names, now.Add(policy.Settling))
	if diff := cmp.Diff([]string{"certificate"}, what); diff != "" || !m.SignedByNewest() {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Machines sleep for months: the authority that they know goes on signing until they had time to hear of its successor.
func TestTheOldAuthoritySignsWhileTheNewOneSettles(t *testing.T) {
	slow := Policy{Subject: "test", AuthorityLife: 900 * day, CertificateLife: 90 * day, Settling: 200 * day}
	m, _, err := slow.Renew(Material{}, names, began)
	if err != nil {
		t.Fatal(err)
	}
	first := m.Bundle()
	var changed time.Duration
	for now := began; now.Before(began.Add(890 * day)); now = now.Add(day) {
		if m, _, err = slow.Renew(m, names, now); err != nil {
			t.Fatal(err)
		}
		if err := verify(t, m.Bundle(), m, names[0], now); err != nil {
			t.Fatalf("after %s: %v", now.Sub(began), err)
		}
		if verify(t, first, m, names[0], now) != nil && changed == 0 {
			changed = now.Sub(began)
		}
	}
	if announced := 600 * day; changed < announced+slow.Settling || changed > announced+slow.Settling+slow.CertificateLife {
		t.Errorf("the new authority signed after %v days", changed.Hours()/24)
	}
	entries, err := m.Entries()
	if err != nil {
		t.Fatal(err)
	}
	read, problems := Parse(entries)
	if len(problems) > 0 || len(read.Authorities) != 2 || read.Authorities[0].Key == nil || read.Authorities[1].Key == nil {
		t.Errorf("the keys of both are not kept: %v", problems)
	}
	if len(read.Certificate.Certificate) != 2 || !bytes.Equal(read.Certificate.Certificate[1], m.Authorities[0].Certificate.Raw) {
		t.Error("the chain does not end with the authority that signed")
	}
}

func TestReplicasWithOtherNamesDoNotFight(t *testing.T) {
	a, b := []string{"a.example.svc"}, []string{"b.example.svc", "127.0.0.1"}
	m, _ := mustRenew(t, Material{}, a, began)
	m, what := mustRenew(t, m, b, began)
	if len(what) != 1 || lacks(m.Certificate.Leaf, a) || lacks(m.Certificate.Leaf, b) {
		t.Fatalf("%v: names are %v", what, NamesOf(m.Certificate.Leaf))
	}
	for _, names := range [][]string{a, b} {
		if _, what := mustRenew(t, m, names, began.Add(time.Hour)); what != nil {
			t.Errorf("the replica with %v renews %v", names, what)
		}
	}
	// Names that nobody asks for go with the next renewal.
	m, _ = mustRenew(t, m, b, began.Add(60*day))
	if got := strings.Join(NamesOf(m.Certificate.Leaf), " "); got != "b.example.svc 127.0.0.1" {
		t.Errorf("names are %s", got)
	}
}

func TestTheBundleIsBounded(t *testing.T) {
	m, _ := mustRenew(t, Material{}, names, began)
	for i := range 10 {
		loseKeys(&m)
		m, _ = mustRenew(t, m, names, began.Add(time.Duration(i)*time.Minute))
		if err := verify(t, m.Bundle(), m, names[0], began.Add(time.Hour)); err != nil {
			t.Fatalf("the authority of the certificate in use was dropped: %v", err)
		}
	}
	if len(m.Authorities) != MaxAuthorities {
		t.Errorf("it holds %d authorities", len(m.Authorities))
	}
}
