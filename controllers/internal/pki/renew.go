package pki

import (
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"slices"
	"time"
)

const (
	// MaxAuthorities bounds the bundle.
	MaxAuthorities = 4
	// maxNames bounds the names of a certificate.
	maxNames = 20
)

// Policy says how long what is made lasts.
type Policy struct {
	// Subject begins the common name of what is made, for people who look at it.
	Subject         string
	AuthorityLife   time.Duration
	CertificateLife time.Duration
	// Settling is how long a new authority signs nothing while there is another way: until all who have to trust it have heard of it.
	Settling time.Duration
}

// Authority is a certificate that signs others; Key is nil when it is lost or not known here.
type Authority struct {
	Certificate *x509.Certificate
	Key         *ecdsa.PrivateKey
}

// Material is what the Secrets of a server hold.
type Material struct {
	// Authorities are what clients are to trust, the newest first.
	Authorities []Authority
	// Certificate is what the server shows; nil: there is none that can be used.
	Certificate *tls.Certificate
}

// Renew replaces what is due at a time, for a server that is reached by names. what tells what was replaced, for the log; empty: nothing.
func (p Policy) Renew(m Material, names []string, now time.Time) (renewed Material, what []string, err error) {
	m.Authorities = slices.DeleteFunc(slices.Clone(m.Authorities), func(a Authority) bool { return expired(a.Certificate, now) })
	if m.Certificate != nil && !m.trusted(now) {
		m.Certificate = nil
	}
	if len(m.Authorities) == 0 || m.Authorities[0].Key == nil || !now.Before(renewalOf(m.Authorities[0].Certificate)) {
		authority, err := p.newAuthority(now)
		if err != nil {
			return Material{}, nil, err
		}
		m.Authorities = m.bundle(authority)
		what = append(what, "authority")
	}
	if p.certificateDue(m, names, now) {
		if m.Certificate, err = p.newCertificate(p.signer(m, now), m.namesFor(names, now), now); err != nil {
			return Material{}, nil, err
		}
		what = append(what, "certificate")
	}
	return m, what, nil
}

// Next is when something is due after Renew.
func (p Policy) Next(m Material, names []string) time.Time {
	due := renewalOf(m.Certificate.Leaf)
	if lacks(m.Certificate.Leaf, names) {
		due = time.Time{}
	}
	if by := p.signer(m, due); !m.signedBy(by) {
		if settled := p.settled(by); settled.After(due) {
			due = settled
		}
	}
	if renewal := renewalOf(m.Authorities[0].Certificate); renewal.Before(due) {
		due = renewal
	}
	return due
}

// signer is the newest authority that all have heard of; when none of those can sign, the one of the others that was made first.
func (p Policy) signer(m Material, now time.Time) Authority {
	var able Authority
	for _, a := range m.Authorities {
		if a.Key == nil {
			continue
		}
		if able = a; !now.Before(p.settled(a)) {
			break
		}
	}
	return able
}

func (p Policy) certificateDue(m Material, names []string, now time.Time) bool {
	if m.Certificate == nil {
		return true
	}
	leaf := m.Certificate.Leaf
	if now.Before(renewalOf(leaf)) && !lacks(leaf, names) {
		return false
	}
	by := p.signer(m, now)
	return m.signedBy(by) || !now.Before(p.settled(by))
}

// namesFor keeps the names of other replicas, until the certificate is renewed for its age.
func (m Material) namesFor(names []string, now time.Time) []string {
	all := slices.Clone(names)
	if m.Certificate != nil && now.Before(renewalOf(m.Certificate.Leaf)) {
		all = append(all, NamesOf(m.Certificate.Leaf)...)
	}
	slices.Sort(all)
	all = slices.Compact(all)
	if len(all) > maxNames {
		return names
	}
	return all
}

// bundle puts a new authority before those that are still good. The one that signed the certificate in use is never dropped.
func (m Material) bundle(newest Authority) []Authority {
	bundle := append([]Authority{newest}, m.Authorities...)
	for len(bundle) > MaxAuthorities {
		drop := len(bundle) - 1
		if m.Certificate != nil && m.signedBy(bundle[drop]) {
			drop--
		}
		bundle = slices.Delete(bundle, drop, drop+1)
	}
	return bundle
}

// trusted tells whether clients that know the bundle take the certificate. Its beginning is not looked at: clocks differ.
func (m Material) trusted(now time.Time) bool {
	return !expired(m.Certificate.Leaf, now) && slices.ContainsFunc(m.Authorities, m.signedBy)
}

// signedBy tells whether an authority signed the certificate in use.
func (m Material) signedBy(a Authority) bool {
	return a.Certificate != nil && m.Certificate.Leaf.CheckSignatureFrom(a.Certificate) == nil
}

// SignedByNewest tells whether the certificate in use is that of the newest authority.
func (m Material) SignedByNewest() bool { return m.signedBy(m.Authorities[0]) }

func expired(c *x509.Certificate, now time.Time) bool { return !now.Before(c.NotAfter) }

// settled is from when an authority may sign.
func (p Policy) settled(a Authority) time.Time { return MadeAt(a.Certificate).Add(p.Settling) }

func lacks(c *x509.Certificate, names []string) bool {
	return slices.ContainsFunc(names, func(name string) bool { return c.VerifyHostname(name) != nil })
}
