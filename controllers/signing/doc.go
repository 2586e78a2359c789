// Package signing keeps the controllers' signing keys: what every agent trusts, and a compromised gateway must never have.
//
// # Use
//
//	keys, err := signing.LoadOrCreate(ctx, liveClient, operatorNamespace, watched)
//	ring := signing.NewRing(keys)
//	mgr.Add(&signing.Rotator{Ring: ring, …})         // works where it leads
//	ring.Sign(document), ring.PublicKeys(), ring.DigestKey()
//
// # Where the keys lie
//
// In Secret restic-manager-signing-key of the operator's namespace, created at the first start. Each entry is an Ed25519 key in PKCS#8 PEM:
//
//	signing-N.pem   signs, and agents are told to trust it
//	retired-N.pem   signs still, for machines that slept; agents are not told to trust it any more
//
// N grows, and the greatest is the newest. Everything is signed by all of them, so that a machine which trusts any of them accepts.
//
// The Secret must outlive the operator: without it every machine has to be enrolled again. It has no owner and is not deleted with anything. It is made only
// where nothing was ever signed: when ScheduleSets exist, their key is lost, and a new one is made only for a person who says so (entry make-new). One
// that is deleted while the controllers run is written again from memory.
//
// # Rotation
//
//	Announced   an entry signing-(N+1).pem is added: both sign, and sets tell machines to trust both
//	Retired     when every enrolled machine has applied such a set, signing-N.pem becomes retired-N.pem: both sign, and sets tell to trust the new one alone
//	Done        after the overlap, when every machine has applied such a set too, retired-N.pem is deleted
//
// A person asks for it by an annotation, and may go on without waiting by two others; decide.go is pure and says what is next. A machine that sleeps
// through everything before Done accepts what it is offered by the old signature, and trusts the new key from then on.
//
// # Locks
//
// Keys are immutable after loading. Ring holds them in an atomic pointer; both are safe for concurrent use. All else belongs to the goroutine of
// Rotator.Start.
package signing
