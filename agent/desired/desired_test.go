package desired

import (
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/restic-manager/restic-manager/api/wire"
)

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

func TestATombstoneMayLeaveTheOnlyCopyOfAPassword(t *testing.T) {
	m := newMachine(t, "web-1")
	s := m.open()
	applied(t, s.Offer(m.offer(100, "r1", "secret-1")), "r1")
	stone := m.tombstoneOf(101, func(set *wire.ScheduleSet) { set.KeepCredentials = true })
	applied(t, s.Offer(stone), "removed")
	for _, s := range []*Store{s, m.open()} {
		inForce(t, s, "removed")
		if m.vault.password() != "secret-1" {
			t.Error("the password is gone")
		}
	}
	applied(t, s.Offer(m.tombstoneOf(102, func(*wire.ScheduleSet) {})), "removed")
	if len(m.vault.credentials) != 0 {
		t.Error("a tombstone that keeps nothing left the password")
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
