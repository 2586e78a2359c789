// Package gatewaycert gives the gateway a certificate of the controllers' making, and tells what machines are to pin.
//
// # Use
//
//	err := gatewaycert.Check(ctx, live, namespace, name)          // at the start of every replica
//	keeper := &gatewaycert.Keeper{Client: live, Namespace: …, Name: "restic-manager-gateway-tls", Names: …, Clock: clock, Log: log}
//	mgr.Add(keeper)                                               // works where it leads
//	keeper.Pins()                                                 // for enrolment tokens and schedule sets, once keeper.News is known
//
// # The Secrets
//
//	NAME            kubernetes.io/tls   tls.crt (the certificate, and the authority that signed it), tls.key, ca.crt   mounted by the gateway
//	NAME-authority  Opaque              ca.crt (the authorities, newest first), ca.key (their keys)                    never mounted
//
// Both carry the label backup.restic-manager.io/gateway-certificate. One without it is somebody else's, and is never written.
//
// # Renewal
//
//	authority    10 years   renewed after two thirds; the earlier one stays pinned until it expires
//	certificate  90 days    renewed after two thirds, or when it lacks a name
//
// A new authority is pinned at once and signs nothing for a year: a machine that slept for less knows it when the certificate changes. The old one signs
// meanwhile. When the Secret NAME-authority is lost, the authority is in ca.crt of the other one still: it stays pinned, and the certificate is shown
// as long as it lasts, 90 days at most. Machines that slept longer than that have to be enrolled again then.
//
// # Order of writes
//
// An authority is stored before anything is signed with it, and published as a pin only when both Secrets are written. Only the leader writes; another one
// that takes over reads what this one left, and its Host controller waits until it has (package tidings).
//
// Locks: none. What is pinned is an atomic pointer; all else belongs to the goroutine of Start.
package gatewaycert
