package desired

import (
	"crypto/ed25519"
	"crypto/rand"
	"log/slog"
	"maps"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/api/wire/seal"
)

var now = time.Date(2026, 3, 1, 2, 30, 0, 0, time.UTC)

type fixedClock time.Time

func (c fixedClock) Now() time.Time { return time.Time(c) }

// fakeVault keeps what a real vault would have on disk.
type fakeVault struct {
	credentials map[string]wire.Credential
	fail        error
	writes      int
}

func (v *fakeVault) Put(_ string, c map[string]wire.Credential) error {
	if v.fail != nil {
		return v.fail
	}
	v.writes++
	v.credentials = maps.Clone(c)
	return nil
}

func (v *fakeVault) Clear() error { return v.Put("", nil) }

func (v *fakeVault) password() string {
	return v.credentials[wire.CredentialRepository].Environment["RESTIC_PASSWORD"]
}

// machine is a host with its keys, its state folder and its controllers.
type machine struct {
	t        *testing.T
	host     wire.HostRef
	identity wire.Identity
	sealing  []byte
	a, b     ed25519.PrivateKey // the controllers' keys; the enrolment knows a
	vault    *fakeVault
	dir      string
	config   Config
}

func newKey(t *testing.T) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newMachine(t *testing.T, name string) *machine {
	t.Helper()
	sealing, err := seal.NewSealingKey()
	if err != nil {
		t.Fatal(err)
	}
	public, err := seal.SealingPublicKey(sealing)
	if err != nil {
		t.Fatal(err)
	}
	m := &machine{
		t:        t,
		host:     wire.HostRef{Namespace: "shop", Name: name},
		identity: wire.Identity{SigningKey: newKey(t).Public().(ed25519.PublicKey), SealingKey: public},
		sealing:  sealing,
		a:        newKey(t),
		b:        newKey(t),
		vault:    &fakeVault{},
		dir:      t.TempDir(),
	}
	m.config = Config{
		Dir: m.dir, Host: m.host, IdentityHash: m.identity.Hash(), SealingKey: sealing,
		SigningKeys: m.keys(m.a), SerialFloor: 100, TLSPins: []string{"sha256:enrolment"},
		Vault: m.vault, Clock: fixedClock(now), Logger: slog.New(slog.DiscardHandler),
	}
	return m
}

func (m *machine) open() *Store {
	m.t.Helper()
	s, err := Open(m.config)
	if err != nil {
		m.t.Fatal(err)
	}
	return s
}

func (m *machine) signer(keys ...ed25519.PrivateKey) *seal.Signer {
	m.t.Helper()
	s, err := seal.NewSigner(keys...)
	if err != nil {
		m.t.Fatal(err)
	}
	return s
}

func (m *machine) keys(keys ...ed25519.PrivateKey) []wire.SigningKey {
	return m.signer(keys...).PublicKeys()
}

func (m *machine) sealed(name, password string) wire.SealedCredential {
	m.t.Helper()
	c, err := seal.SealCredential(m.host, m.identity, name, wire.Credential{Environment: map[string]string{"RESTIC_PASSWORD": password}})
	if err != nil {
		m.t.Fatal(err)
	}
	return c
}

// set is a valid set for the machine, without credentials.
func (m *machine) set(serial int64, revision string) *wire.ScheduleSet {
	return &wire.ScheduleSet{
		Label: wire.ScheduleSetLabel, Host: m.host, IdentityHash: m.identity.Hash(), Serial: serial, Revision: revision,
		ResticHost:  m.host.ResticHost(),
		Repository:  wire.Repository{URL: "rest:https://backup.example.com/web-1", Credential: wire.CredentialRepository},
		Groups:      []wire.SourceGroup{{Name: "etc", Tag: "etc", Includes: []string{"/etc"}}},
		Schedules:   []wire.Schedule{{Name: "nightly", Cron: "30 2 * * *", TimeZone: "UTC", Groups: []string{"etc"}, WhenDisconnected: wire.WhenDisconnectedRun}},
		SigningKeys: m.keys(m.a),
	}
}

// sign makes an offer of the set, with a repository credential of the given password bound into it.
func (m *machine) sign(set *wire.ScheduleSet, password string, keys ...ed25519.PrivateKey) wire.SetOffer {
	m.t.Helper()
	c := m.sealed(wire.CredentialRepository, password)
	set.Credentials = []wire.CredentialHash{{Name: c.Name, SHA256: seal.Hash(c.Sealed)}}
	offer := m.signBare(set, keys...)
	offer.Credentials = []wire.SealedCredential{c}
	return offer
}

func (m *machine) signBare(set *wire.ScheduleSet, keys ...ed25519.PrivateKey) wire.SetOffer {
	m.t.Helper()
	bundle, err := wire.EncodeDocument(set)
	if err != nil {
		m.t.Fatal(err)
	}
	return wire.SetOffer{Revision: set.Revision, Bundle: bundle, Signatures: m.signer(keys...).Sign(bundle)}
}

// offer is a good offer signed by key a.
func (m *machine) offer(serial int64, revision, password string) wire.SetOffer {
	m.t.Helper()
	return m.sign(m.set(serial, revision), password, m.a)
}

func (m *machine) tombstone(serial int64) wire.SetOffer {
	m.t.Helper()
	return m.tombstoneOf(serial, func(*wire.ScheduleSet) {})
}

func (m *machine) tombstoneOf(serial int64, change func(*wire.ScheduleSet)) wire.SetOffer {
	m.t.Helper()
	set := &wire.ScheduleSet{
		Label: wire.ScheduleSetLabel, Host: m.host, IdentityHash: m.identity.Hash(), Serial: serial, Revision: "removed",
		Tombstone: true, SigningKeys: m.keys(m.a),
	}
	change(set)
	return m.signBare(set, m.a)
}

func (m *machine) path() string { return filepath.Join(m.dir, FileName) }

func applied(t *testing.T, ack wire.SetAck, revision string) {
	t.Helper()
	if diff := cmp.Diff(wire.SetAck{Revision: revision, Applied: true, Serial: ack.Serial}, ack); diff != "" {
		t.Fatalf("acknowledgement (-want +got):\n%s", diff)
	}
	if ack.Serial <= 0 {
		t.Errorf("the acknowledgement says the serial %d", ack.Serial)
	}
}

func refused(t *testing.T, ack wire.SetAck, reason wire.RefusalReason, part string) {
	t.Helper()
	if ack.Applied || ack.Reason != reason || !strings.Contains(ack.Message, part) {
		t.Fatalf("acknowledgement is %+v, want a refusal for %s that says %q", ack, reason, part)
	}
	if err := ack.Validate(); err != nil {
		t.Fatalf("the refusal cannot be sent: %v", err)
	}
}

func inForce(t *testing.T, s *Store, revision string) {
	t.Helper()
	if got := s.AppliedRevision(); got != revision {
		t.Fatalf("revision in force is %q, want %q (problem: %v)", got, revision, s.Problem())
	}
}

func mustEncode(t *testing.T, v interface{ Validate() error }) string {
	t.Helper()
	raw, err := wire.EncodeDocument(v)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}
