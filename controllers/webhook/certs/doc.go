// Package certs gives the webhook a certificate of its own making: an authority and a serving certificate in one Secret, renewed in time, with the
// authority written into the ValidatingWebhookConfiguration.
//
// # Use
//
//	keeper := &certs.Keeper{Client: live, Namespace: …, Configuration: "restic-manager", Names: …, Clock: clock.RealClock{}, Log: log}
//	mgr.Add(keeper)                                   // on every replica
//	tls.Config{GetCertificate: keeper.GetCertificate}
//
// # Internals
//
// All replicas do the same, and none leads. A round reads the Secret, renews what is due (package pki), writes the Secret with its
// resourceVersion, takes the certificate, and writes the authorities into the configuration if they differ. Whoever loses a race reads again and finds
// everything done. Then it waits for a change of one of the two objects, or until the next renewal.
//
// # Renewal
//
//	authority    365 days   renewed after two thirds; the earlier one stays in the bundle until it expires
//	certificate   90 days   renewed after two thirds, or when it lacks a name
//
// A new authority signs nothing for its first hour, while there is another way: by then every API server has read the bundle that holds both. So no
// renewal makes an API server meet an authority that it does not know.
//
// What in the Secret cannot be read is replaced, and told in the log; a part that can be read is kept.
//
// Replicas that are started with different names do not fight: a certificate keeps the names that it has until its renewal, and each replica adds its own.
//
// # Trade-offs
//
// github.com/open-policy-agent/cert-controller does a similar thing, see ADR 0025 for why it is not used.
//
// When a permission is missing, or the configuration does not exist, that is one line in the log until it changes, and is tried again every ten minutes. The webhook fails
// open meanwhile.
//
// Locks: none. The certificate in use is an atomic pointer; all else belongs to the goroutine of Start.
package certs
