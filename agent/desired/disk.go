package desired

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io/fs"
	"path/filepath"

	"github.com/restic-manager/restic-manager/agent/atomicfile"
	"github.com/restic-manager/restic-manager/api/wire"
)

const macLabel = "restic-manager/schedule-set-file/v1"

// maxFile bounds what is read at start: an offer cannot be larger than a frame.
const maxFile = 2 * wire.MaxFrame

func deriveMACKey(sealingKey []byte) ([]byte, error) {
	return hkdf.Key(sha256.New, sealingKey, nil, macLabel, sha256.Size)
}

// file is the content of schedule-set.json.
type file struct {
	// MAC is over Accepted.
	MAC      []byte          `json:"mac"`
	Accepted json.RawMessage `json:"accepted"`
}

// accepted is what this machine agreed to.
type accepted struct {
	Offer wire.SetOffer `json:"offer"`
	// TLSPins are those in force with the set, which may be an earlier set's.
	TLSPins []string `json:"tlsPins,omitempty"`
}

func (c *Config) file() atomicfile.File {
	if c.File != nil {
		return c.File
	}
	return atomicfile.At(filepath.Join(c.Dir, FileName))
}

func (s *Store) mac(data []byte) []byte {
	m := hmac.New(sha256.New, s.macKey)
	m.Write(data)
	return m.Sum(nil)
}

func (s *Store) save(v *verified, pins []string) error {
	offer := v.offer
	if v.set.Tombstone {
		offer.Credentials = nil
	}
	raw, err := json.Marshal(accepted{Offer: offer, TLSPins: pins})
	if err != nil {
		return err
	}
	data, err := json.Marshal(file{MAC: s.mac(raw), Accepted: raw})
	if err != nil {
		return err
	}
	s.keepEvidence()
	return s.file.Write(data)
}

// keepEvidence sets a file aside that was not obeyed, before a set of the gateway takes its place: a person may want to see who changed it.
func (s *Store) keepEvidence() {
	if p := s.Problem(); p == nil || p.Reason == wire.RefusalStorage {
		return
	}
	switch aside, err := s.file.SetAside(); {
	case errors.Is(err, fs.ErrNotExist): // done at an earlier offer, which was not stored
	case err != nil:
		s.log.Warn("the refused schedule set on disk cannot be set aside", "file", s.file.String(), "error", err)
	default:
		s.log.Warn("the refused schedule set on disk was set aside", "movedTo", aside)
	}
}

// load puts the set on disk in force, or remembers why not.
func (s *Store) load() error {
	data, err := s.readFile()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	v, pins, refusal := s.verifyFile(data)
	if refusal == nil {
		if err := s.fillVault(v); err != nil && v.set.Tombstone {
			s.uncleared = true
			s.log.Error("the credentials of a removed Host could not be cleared; the next start tries again", "error", err)
		} else if err != nil {
			refusal = refuse(wire.RefusalStorage, "the credentials of the set on disk could not be stored: %v", err)
		}
	}
	if refusal != nil {
		s.log.Error("the schedule set on disk is not in force; the gateway has to bring one", "file", s.file.String(),
			"reason", refusal.Reason, "message", refusal.Message)
		s.problem = refusal
		return nil
	}
	s.enforce(v, pins)
	return nil
}

// readFile returns nothing for what cannot be a set.
func (s *Store) readFile() ([]byte, error) {
	data, err := s.file.Read(maxFile)
	if errors.Is(err, atomicfile.ErrUnusable) {
		return nil, nil
	}
	return data, err
}

func (s *Store) verifyFile(data []byte) (*verified, []string, *Refusal) {
	var f file
	if err := json.Unmarshal(data, &f); err != nil {
		return nil, nil, refuse(wire.RefusalInvalid, "%s does not parse: %v", s.file, err)
	}
	if !hmac.Equal(f.MAC, s.mac(f.Accepted)) {
		return nil, nil, refuse(wire.RefusalBadSignature, "%s was changed, or belongs to another machine or to earlier keys of this one", s.file)
	}
	var a accepted
	if err := json.Unmarshal(f.Accepted, &a); err != nil {
		return nil, nil, refuse(wire.RefusalInvalid, "%s does not parse: %v", s.file, err)
	}
	set, err := wire.ParseScheduleSet(a.Offer.Bundle)
	if err != nil {
		return nil, nil, refuse(wire.RefusalInvalid, "the set in %s is not valid: %v", s.file, err)
	}
	v, refusal := s.verify(a.Offer, set.SigningKeys)
	return v, a.TLSPins, refusal
}
