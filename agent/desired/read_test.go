package desired

import (
	"errors"
	"os"
	"testing"

	"github.com/restic-manager/restic-manager/api/wire"
)

func TestAnotherProcessMayReadTheSetOnDisk(t *testing.T) {
	m := newMachine(t, "web-1")
	config := m.config
	config.Vault, config.Clock = nil, nil
	if _, err := Read(config); !errors.Is(err, ErrNoSet) {
		t.Errorf("without a set: %v", err)
	}
	s := m.open()
	applied(t, s.Offer(m.offer(100, "r1", "hunter2")), "r1")
	got, err := Read(config)
	if err != nil {
		t.Fatal(err)
	}
	if got.Set.Revision != "r1" || got.Credentials[wire.CredentialRepository].Environment["RESTIC_PASSWORD"] != "hunter2" {
		t.Errorf("set is %+v", got.Set)
	}
	applied(t, s.Offer(m.tombstone(200)), "removed")
	if got, err = Read(config); err != nil || !got.Set.Tombstone || len(got.Credentials) != 0 {
		t.Errorf("of a removed Host: %+v, %v", got, err)
	}
	if err := os.WriteFile(m.path(), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = Read(config)
	checkRefusal(t, err, wire.RefusalBadSignature, "was changed")
}
