package desired

import (
	"maps"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/restic-manager/restic-manager/agent/atomicfile/atomicfiletest"
	"github.com/restic-manager/restic-manager/api/wire"
)

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
	disk := atomicfiletest.New(FileName)
	m.config.File = disk
	s := m.open()
	applied(t, s.Offer(m.offer(100, "r1", "secret-1")), "r1")

	disk.Fail(syscall.ENOSPC)
	refused(t, s.Offer(m.offer(101, "r2", "secret-2")), wire.RefusalStorage, "no space left")
	inForce(t, s, "r1")
	inForce(t, m.open(), "r1")

	disk.Fail(nil)
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
