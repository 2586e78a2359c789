package desired

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/restic-manager/restic-manager/agent/atomicfile"
	"github.com/restic-manager/restic-manager/api/wire"
)

// FileName is the name of the set's file in the state folder.
const FileName = "schedule-set.json"

// Vault keeps the opened credentials of the set in force. Put replaces all of them durably; repository is the URL that they are for.
type Vault interface {
	Put(repository string, credentials map[string]wire.Credential) error
	Clear() error
}

// Clock tells the time, for the expiry of commands.
type Clock interface{ Now() time.Time }

// Config is what a machine knows before it has a set. All fields are required but those that say otherwise.
type Config struct {
	// Dir is the state folder; it is made when missing.
	Dir string
	// File holds the set; default: FileName in Dir, which is then required.
	File atomicfile.File
	// Host and IdentityHash say who this machine is.
	Host         wire.HostRef
	IdentityHash string
	// SealingKey is the machine's sealing private key.
	SealingKey []byte
	// SigningKeys, SerialFloor and TLSPins come from the enrolment; TLSPins may be empty.
	SigningKeys []wire.SigningKey
	SerialFloor int64
	TLSPins     []string
	Vault       Vault
	Clock       Clock
	// Check adds a rule of the machine's own for sets; its error is told in a refusal. Optional.
	Check func(*wire.ScheduleSet) error
	// Logger is optional.
	Logger *slog.Logger
}

func (c *Config) validate() error {
	switch {
	case c.Dir == "" && c.File == nil:
		return errors.New("dir is missing")
	case c.Host.Validate() != nil:
		return fmt.Errorf("host: %w", c.Host.Validate())
	case c.IdentityHash == "":
		return errors.New("identityHash is missing")
	case len(c.SealingKey) != wire.KeySize:
		return fmt.Errorf("sealingKey has %d bytes, want %d", len(c.SealingKey), wire.KeySize)
	case len(c.SigningKeys) == 0:
		return errors.New("signingKeys are missing")
	case c.Vault == nil || c.Clock == nil:
		return errors.New("vault and clock are required")
	}
	for i, k := range c.SigningKeys {
		if err := k.Validate(); err != nil {
			return fmt.Errorf("signingKeys[%d]: %w", i, err)
		}
	}
	return nil
}

// Refusal is the error of a set or command that is not obeyed.
type Refusal struct {
	Reason wire.RefusalReason
	// Message is a sentence for people; it holds no secret.
	Message string
}

// Error implements error.
func (r *Refusal) Error() string { return r.Message }

func refuse(reason wire.RefusalReason, format string, args ...any) *Refusal {
	message := fmt.Sprintf(format, args...)
	// A message quotes what the peer wrote, and must itself fit into an acknowledgement.
	if len(message) > maxMessage {
		message = strings.ToValidUTF8(message[:maxMessage], "") + "…"
	}
	return &Refusal{Reason: reason, Message: message}
}

const maxMessage = 1024

// Store holds the set in force.
type Store struct {
	config Config
	macKey []byte
	log    *slog.Logger
	file   atomicfile.File

	// offers is held while a set is judged and stored. uncleared: a tombstone is in force, and the vault could not be cleared.
	offers    sync.Mutex
	uncleared bool

	// mu guards the rest. A set is never changed once it is in force.
	mu      sync.RWMutex
	set     *wire.ScheduleSet
	bundle  string
	pins    []string
	problem *Refusal
	changed chan struct{}
}

// Open loads and verifies the set on disk. A set that is refused is no error: see Problem. It fails only when the folder cannot be used
// or the configuration is incomplete.
func Open(config Config) (*Store, error) {
	if err := config.validate(); err != nil {
		return nil, fmt.Errorf("desired: %w", err)
	}
	macKey, err := deriveMACKey(config.SealingKey)
	if err != nil {
		return nil, fmt.Errorf("desired: %w", err)
	}
	s := &Store{
		config:  config,
		macKey:  macKey,
		log:     config.Logger,
		file:    config.file(),
		pins:    slices.Clone(config.TLSPins),
		changed: make(chan struct{}),
	}
	if s.log == nil {
		s.log = slog.Default()
	}
	if config.Dir != "" {
		if err := atomicfile.MkdirAll(config.Dir); err != nil {
			return nil, fmt.Errorf("desired: %w", err)
		}
	}
	if err := s.load(); err != nil {
		return nil, fmt.Errorf("desired: %w", err)
	}
	return s, nil
}

// Current is the set in force, or nil. It is shared: callers do not change it. It may be a tombstone.
func (s *Store) Current() *wire.ScheduleSet {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.set
}

// AppliedRevision is that of the set in force, or empty.
func (s *Store) AppliedRevision() string {
	if set := s.Current(); set != nil {
		return set.Revision
	}
	return ""
}

// AppliedSerial is that of the set in force, or 0.
func (s *Store) AppliedSerial() int64 {
	if set := s.Current(); set != nil {
		return set.Serial
	}
	return 0
}

// Trusted lists the controllers' keys that this machine accepts now.
func (s *Store) Trusted() []wire.SigningKey {
	if set := s.Current(); set != nil {
		return slices.Clone(set.SigningKeys)
	}
	return slices.Clone(s.config.SigningKeys)
}

// TLSPins pin the gateway's certificate: those of the newest set that named any, else those of the enrolment. Empty means the
// machine's own trust store.
func (s *Store) TLSPins() []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Clone(s.pins)
}

// Problem says why the set on disk is not in force, or nil. It is gone once a set is.
func (s *Store) Problem() *Refusal {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.problem
}

// Changed returns a channel that is closed when another set comes into force. Take it before reading what is in force, so that no
// change is missed.
func (s *Store) Changed() <-chan struct{} {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.changed
}

// enforce puts a verified and stored set in force.
func (s *Store) enforce(v *verified, pins []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.set, s.bundle, s.pins, s.problem = v.set, v.offer.Bundle, pins, nil
	close(s.changed)
	s.changed = make(chan struct{})
}
