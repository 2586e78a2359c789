package desired

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/api/wire/seal"
)

// verified is a set that passed every rule, with its credentials opened.
type verified struct {
	offer       wire.SetOffer
	set         *wire.ScheduleSet
	credentials map[string]wire.Credential
}

// Offer judges a set and, when it passes, stores it and puts it in force before it returns. The set that is in force already is
// acknowledged again without a write.
func (s *Store) Offer(offer wire.SetOffer) wire.SetAck {
	s.offers.Lock()
	defer s.offers.Unlock()
	if err := s.accept(offer); err != nil {
		s.log.Warn("a schedule set was refused", "revision", offer.Revision, "reason", err.Reason, "message", err.Message)
		return wire.SetAck{Revision: offer.Revision, Reason: err.Reason, Message: err.Message}
	}
	return wire.SetAck{Revision: offer.Revision, Applied: true, Serial: s.AppliedSerial()}
}

func (s *Store) accept(offer wire.SetOffer) *Refusal {
	v, refusal := s.verify(offer, s.Trusted())
	if refusal != nil {
		return refusal
	}
	if refusal := s.checkSerial(v); refusal != nil {
		return refusal
	}
	if s.inForce(offer.Bundle) && !s.uncleared {
		return nil
	}
	pins := s.TLSPins()
	if len(v.set.TLSPins) > 0 {
		pins = v.set.TLSPins
	}
	if err := s.save(v, pins); err != nil {
		return refuse(wire.RefusalStorage, "the machine could not store the set: %v", err)
	}
	err := s.fillVault(v)
	s.uncleared = v.set.Tombstone && err != nil
	// A tombstone ends the work in any case; what remains to be cleared is tried again at the next offer and start.
	if err == nil || v.set.Tombstone {
		s.enforce(v, pins)
		s.log.Info("a schedule set is in force", "revision", v.set.Revision, "serial", v.set.Serial, "tombstone", v.set.Tombstone)
	}
	if err != nil {
		return refuse(wire.RefusalStorage, "the machine could not store the set's credentials: %v", err)
	}
	return nil
}

// fillVault makes the vault hold exactly the credentials of the set. A tombstone may leave it as it is.
func (s *Store) fillVault(v *verified) error {
	switch {
	case v.set.Tombstone && v.set.KeepCredentials:
		return nil
	case v.set.Tombstone:
		return s.config.Vault.Clear()
	}
	return s.config.Vault.Put(v.set.Repository.URL, v.credentials)
}

func (s *Store) inForce(bundle string) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.set != nil && s.bundle == bundle
}

// verify applies the rules that hold both for an offer and for the set on disk.
func (s *Store) verify(offer wire.SetOffer, trusted []wire.SigningKey) (*verified, *Refusal) {
	if err := offer.Validate(); err != nil {
		return nil, refuse(wire.RefusalInvalid, "the offer is not valid: %v", err)
	}
	if err := seal.Verify(offer.Bundle, offer.Signatures, trusted); err != nil {
		return nil, refuse(wire.RefusalBadSignature, "%v", err)
	}
	set, err := wire.ParseScheduleSet(offer.Bundle)
	if err != nil {
		return nil, refuse(wire.RefusalInvalid, "the set is not valid: %v", err)
	}
	if refusal := s.checkAddress("set", set.Host, set.IdentityHash); refusal != nil {
		return nil, refusal
	}
	if set.Serial < s.config.SerialFloor {
		return nil, refuse(wire.RefusalOlderSerial, "the set's serial %d is older than this machine's enrolment, which begins at %d",
			set.Serial, s.config.SerialFloor)
	}
	if offer.Revision != set.Revision {
		return nil, refuse(wire.RefusalInvalid, "the set was offered as revision %q, and says that it is %q", offer.Revision, set.Revision)
	}
	// Between rotations these are the keys that it was verified by above.
	if !slices.EqualFunc(set.SigningKeys, trusted, sameKey) {
		if err := seal.Verify(offer.Bundle, offer.Signatures, set.SigningKeys); err != nil {
			return nil, refuse(wire.RefusalInvalid, "the set is not signed by a key that it names itself, and could not be followed by another: %v", err)
		}
	}
	v := &verified{offer: offer, set: set}
	if set.Tombstone {
		return v, nil
	}
	if s.config.Check != nil {
		if err := s.config.Check(set); err != nil {
			return nil, asRefusal(err)
		}
	}
	if v.credentials, err = s.openCredentials("set", set.Credentials, offer.Credentials); err != nil {
		return nil, refuse(wire.RefusalBadCredential, "%v", err)
	}
	return v, nil
}

func sameKey(a, b wire.SigningKey) bool {
	return a.KeyID == b.KeyID && bytes.Equal(a.PublicKey, b.PublicKey)
}

func asRefusal(err error) *Refusal {
	if r := (*Refusal)(nil); errors.As(err, &r) {
		return r
	}
	return refuse(wire.RefusalInvalid, "%v", err)
}

// checkAddress says whether a signed document is meant for this machine.
func (s *Store) checkAddress(what string, host wire.HostRef, identityHash string) *Refusal {
	if host != s.config.Host {
		return refuse(wire.RefusalWrongHost, "the %s is for host %s, and this machine is %s", what, host, s.config.Host)
	}
	if identityHash != s.config.IdentityHash {
		return refuse(wire.RefusalWrongIdentity,
			"the %s is for other keys than this machine's: the Host's identity changed; enrol the machine again if it is the right one", what)
	}
	return nil
}

func (s *Store) checkSerial(v *verified) *Refusal {
	s.mu.RLock()
	defer s.mu.RUnlock()
	switch {
	case s.set == nil || v.set.Serial > s.set.Serial || v.offer.Bundle == s.bundle:
		return nil
	case v.set.Serial < s.set.Serial:
		return refuse(wire.RefusalOlderSerial, "the set's serial %d is older than %d, which is in force", v.set.Serial, s.set.Serial)
	default:
		return refuse(wire.RefusalOlderSerial, "the set has the serial %d of the set in force, and another content", v.set.Serial)
	}
}

// openCredentials opens the sealed credentials that travel with a signed document, which must be exactly those that it names.
func (s *Store) openCredentials(what string, named []wire.CredentialHash, sealed []wire.SealedCredential) (map[string]wire.Credential, error) {
	travelling := make(map[string]wire.SealedCredential, len(sealed))
	for _, c := range sealed {
		if _, twice := travelling[c.Name]; twice {
			return nil, fmt.Errorf("credential %q travels twice", c.Name)
		}
		travelling[c.Name] = c
	}
	opened := make(map[string]wire.Credential, len(named))
	for _, want := range named {
		if _, twice := opened[want.Name]; twice {
			return nil, fmt.Errorf("the %s names the credential %q twice", what, want.Name)
		}
		c, ok := travelling[want.Name]
		if !ok {
			return nil, fmt.Errorf("credential %q is missing", want.Name)
		}
		if seal.Hash(c.Sealed) != want.SHA256 {
			return nil, fmt.Errorf("credential %q is not the one that the %s was signed with", want.Name, what)
		}
		plain, err := s.openCredential(c)
		if err != nil {
			return nil, err
		}
		opened[want.Name] = plain
		delete(travelling, want.Name)
	}
	for name := range travelling {
		return nil, fmt.Errorf("credential %q travels with the %s and is not named in it", name, what)
	}
	return opened, nil
}

func (s *Store) openCredential(c wire.SealedCredential) (wire.Credential, error) {
	return seal.OpenCredential(s.config.Host, s.config.IdentityHash, s.config.SealingKey, c)
}
