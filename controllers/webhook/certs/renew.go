package certs

import (
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"slices"
	"time"
)

const (
	// settling is how long a new authority signs nothing while the certificate in use is good: until all API servers have read it.
	settling = time.Hour
	// maxAuthorities bounds the bundle.
	maxAuthorities = 4
	// maxNames bounds the names of a certificate.
	maxNames = 20
)

// material is what the Secret holds.
type material struct {
	// authorities are what API servers are to trust, the newest first.
	authorities []*x509.Certificate
	// key is that of the newest authority; nil: lost.
	key *ecdsa.PrivateKey
	// certificate is what the webhook shows; nil: there is none that can be used.
	certificate *tls.Certificate
}

// renew replaces what is due at a time, for a replica that is reached by names. what tells what was replaced, for the log; empty: nothing.
func renew(m material, names []string, now time.Time) (renewed material, what []string, err error) {
	m.authorities = slices.DeleteFunc(slices.Clone(m.authorities), func(a *x509.Certificate) bool { return expired(a, now) })
	if m.certificate != nil && !m.trusted(now) {
		m.certificate = nil
	}
	if len(m.authorities) == 0 || m.key == nil || !now.Before(renewalOf(m.authorities[0])) {
		authority, key, err := newAuthority(now)
		if err != nil {
			return material{}, nil, err
		}
		m.authorities, m.key = m.bundle(authority), key
		what = append(what, "authority")
	}
	if m.certificateDue(names, now) {
		if m.certificate, err = newCertificate(m.authorities[0], m.key, m.namesFor(names, now), now); err != nil {
			return material{}, nil, err
		}
		what = append(what, "certificate")
	}
	return m, what, nil
}

// next is when something is due after renew.
func next(m material, names []string) time.Time {
	due := renewalOf(m.certificate.Leaf)
	if lacks(m.certificate.Leaf, names) {
		due = time.Time{}
	}
	if settled := settled(m.authorities[0]); !m.signedByNewest() && settled.After(due) {
		due = settled
	}
	if renewal := renewalOf(m.authorities[0]); renewal.Before(due) {
		due = renewal
	}
	return due
}

func (m material) certificateDue(names []string, now time.Time) bool {
	if m.certificate == nil {
		return true
	}
	leaf := m.certificate.Leaf
	due := !now.Before(renewalOf(leaf)) || lacks(leaf, names)
	return due && (m.signedByNewest() || !now.Before(settled(m.authorities[0])))
}

// namesFor keeps the names of other replicas, until the certificate is renewed for its age.
func (m material) namesFor(names []string, now time.Time) []string {
	all := slices.Clone(names)
	if m.certificate != nil && now.Before(renewalOf(m.certificate.Leaf)) {
		all = append(all, namesOf(m.certificate.Leaf)...)
	}
	slices.Sort(all)
	all = slices.Compact(all)
	if len(all) > maxNames {
		return names
	}
	return all
}

// bundle puts a new authority before those that are still good. The one that signed the certificate in use is never dropped.
func (m material) bundle(newest *x509.Certificate) []*x509.Certificate {
	bundle := append([]*x509.Certificate{newest}, m.authorities...)
	for len(bundle) > maxAuthorities {
		drop := len(bundle) - 1
		if m.certificate != nil && m.certificate.Leaf.CheckSignatureFrom(bundle[drop]) == nil {
			drop--
		}
		bundle = slices.Delete(bundle, drop, drop+1)
	}
	return bundle
}

// trusted tells whether API servers that know the bundle take the certificate. Its beginning is not looked at: clocks differ.
func (m material) trusted(now time.Time) bool {
	leaf := m.certificate.Leaf
	return !expired(leaf, now) && slices.ContainsFunc(m.authorities, func(a *x509.Certificate) bool { return leaf.CheckSignatureFrom(a) == nil })
}

func (m material) signedByNewest() bool {
	return m.certificate.Leaf.CheckSignatureFrom(m.authorities[0]) == nil
}

func expired(c *x509.Certificate, now time.Time) bool { return !now.Before(c.NotAfter) }

func settled(authority *x509.Certificate) time.Time { return madeAt(authority).Add(settling) }

func lacks(c *x509.Certificate, names []string) bool {
	return slices.ContainsFunc(names, func(name string) bool { return c.VerifyHostname(name) != nil })
}
