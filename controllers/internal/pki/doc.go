// Package pki makes and renews what a server of the operator shows: an authority and a certificate that it signed, both in Secrets. It is for the webhook,
// whose clients are API servers, and for the gateway, whose clients are machines that may sleep for months.
//
// # Use
//
//	policy := pki.Policy{Subject: "restic-manager gateway", AuthorityLife: …, CertificateLife: …, Settling: …}
//	m, problems := pki.Parse(secret.Data)
//	m, what, err := policy.Renew(m, names, now)      // what was replaced; empty: nothing, and nothing is to be written
//	again := policy.Next(m, names)                   // when something is due
//
// # Renewal
//
// An authority and a certificate are renewed after two thirds of their life, a certificate also when it lacks a name. A new authority signs nothing while it
// is younger than Policy.Settling: by then whoever has to trust it has heard of it. Until then the one before signs what is due, if its key is there, and
// else a certificate that is still good is shown for longer. What cannot be used any more (expired, damaged, lost) is replaced at once, since there is
// nothing to lose. An earlier authority stays until it expires.
//
// Everything here is pure but for the random numbers: the time is an argument.
package pki
