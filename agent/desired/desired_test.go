package desired

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/restic-manager/restic-manager/agent/atomicfile"
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
	return m.signBare(&wire.ScheduleSet{
		Label: wire.ScheduleSetLabel, Host: m.host, IdentityHash: m.identity.Hash(), Serial: serial, Revision: "removed",
		Tombstone: true, SigningKeys: m.keys(m.a),
	}, m.a)
}

func (m *machine) path() string { return filepath.Join(m.dir, FileName) }

func applied(t *testing.T, ack wire.SetAck, revision string) {
	t.Helper()
	if diff := cmp.Diff(wire.SetAck{Revision: revision, Applied: true}, ack); diff != "" {
		t.Fatalf("acknowledgement (-want +got):\n%s", diff)
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

func TestAGoodSetComesIntoForceAndSurvivesARestart(t *testing.T) {
	m := newMachine(t, "web-1")
	s := m.open()
	inForce(t, s, "")
	if s.Current() != nil || s.AppliedSerial() != 0 || s.Problem() != nil {
		t.Fatal("a new machine has a set")
	}
	changed := s.Changed()
	applied(t, s.Offer(m.offer(100, "r1", "secret-1")), "r1")
	select {
	case <-changed:
	default:
		t.Error("nobody was told of the change")
	}
	for range 2 {
		inForce(t, s, "r1")
		if s.AppliedSerial() != 100 || m.vault.password() != "secret-1" || s.Current().Groups[0].Name != "etc" {
			t.Errorf("in force: %+v", s.Current())
		}
		s = m.open()
	}
	info, err := os.Stat(m.path())
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode is %o, want 600", info.Mode().Perm())
	}
	data, err := os.ReadFile(m.path())
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(data), "secret-1") {
		t.Error("the file holds a password in plain text")
	}
}

func TestANewerSetReplacesTheOneInForceWholly(t *testing.T) {
	m := newMachine(t, "web-1")
	s := m.open()
	applied(t, s.Offer(m.offer(100, "r1", "secret-1")), "r1")
	applied(t, s.Offer(m.offer(101, "r2", "secret-2")), "r2")
	inForce(t, m.open(), "r2")
	if m.vault.password() != "secret-2" {
		t.Error("the vault still holds the earlier credential")
	}
}

func TestOfferingTheSetInForceAgainIsAcknowledgedAndWritesNothing(t *testing.T) {
	m := newMachine(t, "web-1")
	s := m.open()
	offer := m.offer(100, "r1", "secret-1")
	applied(t, s.Offer(offer), "r1")
	writes, changed := m.vault.writes, s.Changed()
	s.write = func(string, []byte) error { return errors.New("must not write") }
	applied(t, s.Offer(offer), "r1")
	select {
	case <-changed:
		t.Error("a repetition was told as a change")
	default:
	}
	if m.vault.writes != writes {
		t.Error("a repetition was written to the vault")
	}
}

func TestSetsThatAreRefused(t *testing.T) {
	m := newMachine(t, "web-1")
	other := newMachine(t, "web-2")
	other.a = m.a // the same controllers
	stranger := newKey(t)

	for name, c := range map[string]struct {
		offer  func() wire.SetOffer
		reason wire.RefusalReason
		part   string
	}{
		"unsigned": {
			func() wire.SetOffer { o := m.offer(201, "r2", "x"); o.Signatures = nil; return o },
			wire.RefusalBadSignature, "not signed",
		},
		"tampered with after it was signed": {
			func() wire.SetOffer {
				o := m.offer(201, "r2", "x")
				o.Bundle = strings.Replace(o.Bundle, "/etc", "/var", 1)
				return o
			},
			wire.RefusalBadSignature, "signature does not match",
		},
		"signed by a stranger": {
			func() wire.SetOffer { return m.sign(m.set(201, "r2"), "x", stranger) },
			wire.RefusalBadSignature, "no key that this machine trusts",
		},
		"signed by a stranger under the name of a trusted key": {
			func() wire.SetOffer {
				o := m.sign(m.set(201, "r2"), "x", stranger)
				o.Signatures[0].KeyID = m.keys(m.a)[0].KeyID
				return o
			},
			wire.RefusalBadSignature, "signature does not match",
		},
		"signed by a stranger, and names its key itself": {
			func() wire.SetOffer {
				set := m.set(201, "r2")
				set.SigningKeys = m.keys(stranger)
				return m.sign(set, "x", stranger)
			},
			wire.RefusalBadSignature, "no key that this machine trusts",
		},
		"with a signature that is cut": {
			func() wire.SetOffer {
				o := m.offer(201, "r2", "x")
				o.Signatures[0].Value = o.Signatures[0].Value[:10]
				return o
			},
			wire.RefusalBadSignature, "signature does not match",
		},
		"for another host": {
			func() wire.SetOffer { return other.offer(201, "r2", "x") },
			wire.RefusalWrongHost, "for host shop/web-2, and this machine is shop/web-1",
		},
		"for earlier keys of this host": {
			func() wire.SetOffer {
				set := m.set(201, "r2")
				set.IdentityHash = other.identity.Hash()
				return m.sign(set, "x", m.a)
			},
			wire.RefusalWrongIdentity, "other keys",
		},
		"older than the set in force": {
			func() wire.SetOffer { return m.offer(199, "r0", "x") },
			wire.RefusalOlderSerial, "199 is older than 200",
		},
		"below the floor of the enrolment": {
			func() wire.SetOffer { return m.offer(99, "r0", "x") },
			wire.RefusalOlderSerial, "begins at 100",
		},
		"with the serial in force and another content": {
			func() wire.SetOffer { return m.offer(200, "r1b", "x") },
			wire.RefusalOlderSerial, "another content",
		},
		"offered under another revision than it has": {
			func() wire.SetOffer { o := m.offer(201, "r2", "x"); o.Revision = "r9"; return o },
			wire.RefusalInvalid, `offered as revision "r9"`,
		},
		"that is another sort of document": {
			func() wire.SetOffer {
				set := m.set(201, "r2")
				bundle := strings.Replace(mustEncode(t, set), wire.ScheduleSetLabel, wire.JobCommandLabel, 1)
				return wire.SetOffer{Revision: "r2", Bundle: bundle, Signatures: m.signer(m.a).Sign(bundle)}
			},
			wire.RefusalInvalid, "label",
		},
		"that names only keys which did not sign it": {
			func() wire.SetOffer {
				set := m.set(201, "r2")
				set.SigningKeys = m.keys(m.b)
				return m.sign(set, "x", m.a)
			},
			wire.RefusalInvalid, "names itself",
		},
		"with a credential sealed by somebody else": {
			func() wire.SetOffer {
				o := m.offer(201, "r2", "x")
				o.Credentials[0] = m.sealed(wire.CredentialRepository, "chosen by the gateway")
				return o
			},
			wire.RefusalBadCredential, "not the one that the set was signed with",
		},
		"with a credential sealed for another machine": {
			func() wire.SetOffer {
				set, c := m.set(201, "r2"), other.sealed(wire.CredentialRepository, "x")
				set.Credentials = []wire.CredentialHash{{Name: c.Name, SHA256: seal.Hash(c.Sealed)}}
				o := m.signBare(set, m.a)
				o.Credentials = []wire.SealedCredential{c}
				return o
			},
			wire.RefusalBadCredential, "other keys",
		},
		"with a credential sealed under another name": {
			func() wire.SetOffer {
				set, c := m.set(201, "r2"), m.sealed("admin", "x")
				c.Name = wire.CredentialRepository
				set.Credentials = []wire.CredentialHash{{Name: c.Name, SHA256: seal.Hash(c.Sealed)}}
				o := m.signBare(set, m.a)
				o.Credentials = []wire.SealedCredential{c}
				return o
			},
			wire.RefusalBadCredential, "credential repository",
		},
		"without the credential that it names": {
			func() wire.SetOffer { o := m.offer(201, "r2", "x"); o.Credentials = nil; return o },
			wire.RefusalBadCredential, "is missing",
		},
		"with a credential that it does not name": {
			func() wire.SetOffer {
				o := m.offer(201, "r2", "x")
				o.Credentials = append(o.Credentials, m.sealed("extra", "x"))
				return o
			},
			wire.RefusalBadCredential, "not named",
		},
		"with a credential twice": {
			func() wire.SetOffer {
				o := m.offer(201, "r2", "x")
				o.Credentials = append(o.Credentials, o.Credentials[0])
				return o
			},
			wire.RefusalBadCredential, "twice",
		},
		"that the machine's own rule refuses": {
			func() wire.SetOffer {
				set := m.set(201, "r2")
				set.Schedules[0].Cron = "0 0 31 2 *"
				return m.sign(set, "x", m.a)
			},
			wire.RefusalInvalid, "never fires",
		},
		"that is a tombstone below the serial in force": {
			func() wire.SetOffer { return m.tombstone(150) },
			wire.RefusalOlderSerial, "150 is older than 200",
		},
	} {
		t.Run("a set "+name, func(t *testing.T) {
			m.dir = t.TempDir()
			m.vault = &fakeVault{}
			m.config.Dir, m.config.Vault = m.dir, m.vault
			m.config.Check = func(s *wire.ScheduleSet) error {
				if s.Schedules[0].Cron == "0 0 31 2 *" {
					return errors.New("schedule nightly never fires")
				}
				return nil
			}
			s := m.open()
			applied(t, s.Offer(m.offer(200, "r1", "secret-1")), "r1")
			changed := s.Changed()
			ack := s.Offer(c.offer())
			refused(t, ack, c.reason, c.part)
			select {
			case <-changed:
				t.Error("a refused set was told as a change")
			default:
			}
			for range 2 {
				inForce(t, s, "r1")
				if m.vault.password() != "secret-1" {
					t.Error("the credential of the set in force is gone")
				}
				s = m.open()
			}
		})
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

func TestSigningKeysAreRotatedWithoutStrandingAMachine(t *testing.T) {
	m := newMachine(t, "web-1")
	s := m.open()
	applied(t, s.Offer(m.offer(100, "old key", "s")), "old key")
	refused(t, s.Offer(m.sign(m.set(101, "too early"), "s", m.b)), wire.RefusalBadSignature, "no key")

	both := m.set(102, "both keys")
	both.SigningKeys = m.keys(m.a, m.b)
	applied(t, s.Offer(m.sign(both, "s", m.a, m.b)), "both keys")

	last := m.set(103, "new key only")
	last.SigningKeys = m.keys(m.b)
	offer := m.sign(last, "s", m.b)
	applied(t, s.Offer(offer), "new key only")

	// The enrolment knows only the old key; the set on disk must carry the machine over.
	s = m.open()
	inForce(t, s, "new key only")
	applied(t, s.Offer(offer), "new key only")
	if diff := cmp.Diff(m.keys(m.b), s.Trusted()); diff != "" {
		t.Errorf("trusted keys (-want +got):\n%s", diff)
	}
	refused(t, s.Offer(m.offer(104, "old key again", "s")), wire.RefusalBadSignature, "no key")
}

func TestATombstoneClearsTheSecretsAndStaysInForce(t *testing.T) {
	m := newMachine(t, "web-1")
	s := m.open()
	applied(t, s.Offer(m.offer(100, "r1", "secret-1")), "r1")
	stone := m.tombstone(101)
	stone.Credentials = []wire.SealedCredential{m.sealed("stray", "secret-2")}
	applied(t, s.Offer(stone), "removed")
	for range 2 {
		inForce(t, s, "removed")
		if !s.Current().Tombstone || len(m.vault.credentials) != 0 {
			t.Error("the tombstone left credentials in the vault")
		}
		s = m.open()
	}
	data, err := os.ReadFile(m.path())
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(data), `"sealed"`) {
		t.Error("the file of a tombstone holds sealed credentials")
	}
	refused(t, s.Offer(m.offer(100, "r1", "secret-1")), wire.RefusalOlderSerial, "older")
	applied(t, s.Offer(m.offer(102, "back again", "secret-3")), "back again")
	if m.vault.password() != "secret-3" {
		t.Error("a set after the tombstone did not bring its credential")
	}
}

func TestATombstoneEndsTheWorkEvenWhenTheSecretsCannotBeCleared(t *testing.T) {
	m := newMachine(t, "web-1")
	s := m.open()
	applied(t, s.Offer(m.offer(100, "r1", "secret-1")), "r1")
	stone := m.tombstone(101)
	m.vault.fail = syscall.EROFS
	refused(t, s.Offer(stone), wire.RefusalStorage, "read-only")
	inForce(t, s, "removed")
	refused(t, s.Offer(stone), wire.RefusalStorage, "read-only")

	s = m.open()
	inForce(t, s, "removed")
	m.vault.fail = nil
	applied(t, s.Offer(stone), "removed")
	if len(m.vault.credentials) != 0 {
		t.Error("the credentials were not cleared by the next offer")
	}
	writes := m.vault.writes
	applied(t, s.Offer(stone), "removed")
	if m.vault.writes != writes {
		t.Error("the vault was cleared once more")
	}
}

func TestPinsOfTheGatewayStayUntilASetNamesOthers(t *testing.T) {
	m := newMachine(t, "web-1")
	s := m.open()
	pins := func(want string) {
		t.Helper()
		for _, s := range []*Store{s, m.open()} {
			if diff := cmp.Diff([]string{want}, s.TLSPins()); diff != "" {
				t.Errorf("pins (-want +got):\n%s", diff)
			}
		}
	}
	pins("sha256:enrolment")
	applied(t, s.Offer(m.offer(100, "r1", "s")), "r1")
	pins("sha256:enrolment")
	set := m.set(101, "r2")
	set.TLSPins = []string{"sha256:new"}
	applied(t, s.Offer(m.sign(set, "s", m.a)), "r2")
	pins("sha256:new")
	applied(t, s.Offer(m.offer(102, "r3", "s")), "r3")
	pins("sha256:new")
}

func TestASetThatWasChangedOnDiskIsNotObeyed(t *testing.T) {
	other := newMachine(t, "web-2")
	stranger := newKey(t)
	for name, c := range map[string]struct {
		damage func(t *testing.T, m *machine, data []byte) []byte
		reason wire.RefusalReason
	}{
		"is empty":    {func(*testing.T, *machine, []byte) []byte { return nil }, wire.RefusalInvalid},
		"is not JSON": {func(*testing.T, *machine, []byte) []byte { return []byte("\x00\x01") }, wire.RefusalInvalid},
		"was cut":     {func(_ *testing.T, _ *machine, d []byte) []byte { return d[:len(d)/2] }, wire.RefusalInvalid},
		"is an empty object": {
			func(*testing.T, *machine, []byte) []byte { return []byte("{}") }, wire.RefusalBadSignature,
		},
		"names another path": {
			func(_ *testing.T, _ *machine, d []byte) []byte {
				return []byte(strings.Replace(string(d), "/etc", "/var", 1))
			},
			wire.RefusalBadSignature,
		},
		"names other pins": {
			func(_ *testing.T, _ *machine, d []byte) []byte {
				return []byte(strings.Replace(string(d), "sha256:enrolment", "sha256:attackers", 1))
			},
			wire.RefusalBadSignature,
		},
		"was signed by a stranger who names its own key": {
			func(t *testing.T, m *machine, _ []byte) []byte {
				forger := *m
				forger.a, forger.dir, forger.config.Dir = stranger, t.TempDir(), t.TempDir()
				forger.sealing = other.sealing
				forger.config.SealingKey = other.sealing
				forger.config.SigningKeys = m.keys(stranger)
				set := m.set(100, "forged")
				set.SigningKeys = m.keys(stranger)
				forger.dir = forger.config.Dir
				applied(t, forger.open().Offer(m.signBare(set, stranger)), "forged")
				data, err := os.ReadFile(forger.path())
				if err != nil {
					t.Fatal(err)
				}
				return data
			},
			wire.RefusalBadSignature,
		},
	} {
		t.Run("a file that "+name, func(t *testing.T) {
			m := newMachine(t, "web-1")
			applied(t, m.open().Offer(m.offer(100, "r1", "secret-1")), "r1")
			data, err := os.ReadFile(m.path())
			if err != nil {
				t.Fatal(err)
			}
			damaged := c.damage(t, m, data)
			if string(damaged) == string(data) {
				t.Fatal("the file was not changed")
			}
			if err := os.WriteFile(m.path(), damaged, 0o600); err != nil {
				t.Fatal(err)
			}
			s := m.open()
			inForce(t, s, "")
			if p := s.Problem(); p == nil || p.Reason != c.reason || !strings.Contains(p.Message, m.path()) {
				t.Errorf("problem is %+v, want %s and the file's name", p, c.reason)
			}
			after, err := os.ReadFile(m.path())
			if err != nil || string(after) != string(damaged) {
				t.Errorf("the refused file was changed: %v", err)
			}

			applied(t, s.Offer(m.offer(101, "r2", "secret-2")), "r2")
			if s.Problem() != nil {
				t.Errorf("the problem is still told: %v", s.Problem())
			}
			inForce(t, m.open(), "r2")
			if kept, err := os.ReadFile(m.path() + ".damaged-1"); err != nil || string(kept) != string(damaged) {
				t.Errorf("the refused file is not kept beside the new one: %v", err)
			}
		})
	}
}

func TestASetOfEarlierKeysOfThisMachineIsNotObeyedAfterANewEnrolment(t *testing.T) {
	m := newMachine(t, "web-1")
	applied(t, m.open().Offer(m.offer(100, "r1", "secret-1")), "r1")
	again := newMachine(t, "web-1")
	again.config.Dir = m.dir
	s := again.open()
	inForce(t, s, "")
	if s.Problem() == nil {
		t.Error("nothing is told")
	}
}

func TestASetOnDiskBelowTheFloorOfANewEnrolmentIsNotObeyed(t *testing.T) {
	m := newMachine(t, "web-1")
	applied(t, m.open().Offer(m.offer(100, "r1", "secret-1")), "r1")
	m.config.SerialFloor = 500
	s := m.open()
	inForce(t, s, "")
	if p := s.Problem(); p == nil || p.Reason != wire.RefusalOlderSerial {
		t.Errorf("problem is %+v, want OlderSerial", p)
	}
}

func TestACrashBetweenTheSetAndTheVaultLeavesAConsistentPair(t *testing.T) {
	m := newMachine(t, "web-1")
	s := m.open()
	applied(t, s.Offer(m.offer(100, "r1", "secret-1")), "r1")
	before := maps.Clone(m.vault.credentials)
	applied(t, s.Offer(m.offer(101, "r2", "secret-2")), "r2")
	// The crash came after schedule-set.json and before the vault.
	m.vault.credentials = before
	inForce(t, m.open(), "r2")
	if m.vault.password() != "secret-2" {
		t.Error("the vault was not filled again at start")
	}
	// A lost vault is filled from the set too.
	m.vault.credentials = nil
	inForce(t, m.open(), "r2")
	if m.vault.password() != "secret-2" {
		t.Error("the lost vault was not filled again at start")
	}
}

func TestAFullDiskRefusesASetAndKeepsTheOneInForce(t *testing.T) {
	m := newMachine(t, "web-1")
	s := m.open()
	applied(t, s.Offer(m.offer(100, "r1", "secret-1")), "r1")

	s.write = func(string, []byte) error { return syscall.ENOSPC }
	refused(t, s.Offer(m.offer(101, "r2", "secret-2")), wire.RefusalStorage, "no space left")
	inForce(t, s, "r1")
	inForce(t, m.open(), "r1")

	s.write = atomicfile.Write
	m.vault.fail = syscall.ENOSPC
	refused(t, s.Offer(m.offer(101, "r2", "secret-2")), wire.RefusalStorage, "no space left")
	inForce(t, s, "r1")
	if m.vault.password() != "secret-1" {
		t.Error("the credential of the set in force is gone")
	}

	half := m.open()
	inForce(t, half, "")
	if p := half.Problem(); p == nil || p.Reason != wire.RefusalStorage {
		t.Errorf("problem is %+v, want StorageFailed", p)
	}
	m.vault.fail = nil
	inForce(t, m.open(), "r2")
	applied(t, s.Offer(m.offer(102, "r3", "secret-3")), "r3")
}

func TestAnIncompleteConfigurationIsAnError(t *testing.T) {
	for name, damage := range map[string]func(*Config){
		"dir":          func(c *Config) { c.Dir = "" },
		"host":         func(c *Config) { c.Host.Name = "" },
		"identityHash": func(c *Config) { c.IdentityHash = "" },
		"sealingKey":   func(c *Config) { c.SealingKey = c.SealingKey[:5] },
		"signingKeys":  func(c *Config) { c.SigningKeys = nil },
		"keyID":        func(c *Config) { c.SigningKeys[0].KeyID = "other" },
		"vault":        func(c *Config) { c.Vault = nil },
	} {
		m := newMachine(t, "web-1")
		damage(&m.config)
		if _, err := Open(m.config); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("error is %v, want one that names %s", err, name)
		}
	}
}
