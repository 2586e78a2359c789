package compile

import (
	"testing"

	"github.com/restic-manager/restic-manager/api/wire"
)

func TestATombstoneSaysNothingButTheEnd(t *testing.T) {
	host := wire.HostRef{Namespace: "shop", Name: "web-1"}
	keys := []wire.SigningKey{{KeyID: "b"}, {KeyID: "a"}}
	first := Tombstone(host, "uid-1", "hash", false, keys, []string{"sha256:y", "sha256:x"})
	if !first.Tombstone || first.Groups != nil || first.Schedules != nil || first.Credentials != nil || first.Repository != (wire.Repository{}) || first.Hooks != nil {
		t.Errorf("it says %+v", first)
	}
	if first.SigningKeys[0].KeyID != "a" || first.TLSPins[0] != "sha256:x" {
		t.Errorf("keys and pins stay, sorted: %+v", first)
	}
	revision := func(s wire.ScheduleSet) string {
		t.Helper()
		r, err := Revision(s, nil)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	for name, other := range map[string]wire.ScheduleSet{
		"of a Host that was made again": Tombstone(host, "uid-2", "hash", false, keys, nil),
		"for another machine":           Tombstone(host, "uid-1", "other", false, keys, nil),
		"that keeps the password":       Tombstone(host, "uid-1", "hash", true, keys, nil),
	} {
		if revision(other) == revision(first) {
			t.Errorf("a tombstone %s has the same revision", name)
		}
	}
	if revision(Tombstone(host, "uid-1", "hash", false, []wire.SigningKey{keys[1], keys[0]}, []string{"sha256:x", "sha256:y"})) != revision(first) {
		t.Error("the order of keys and pins makes another revision")
	}
}
