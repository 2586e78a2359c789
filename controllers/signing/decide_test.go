package signing

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestWhatARotationNeedsNext(t *testing.T) {
	now := time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC)
	const overlap = 90 * 24 * time.Hour
	one := []Entry{{Name: "signing-1.pem", Number: 1, KeyID: "old"}}
	two := append(one[:1:1], Entry{Name: "signing-2.pem", Number: 2, KeyID: "new"})
	half := []Entry{{Name: "retired-1.pem", Number: 1, KeyID: "old", Retired: true}, two[1]}
	record := func(phase Phase, age time.Duration) *Record {
		return &Record{Request: "a", Phase: phase, NewKey: "new", Since: now.Add(-age)}
	}
	asleep := []string{"shop/web-1"}
	for _, tt := range []struct {
		name    string
		state   state
		waiting []string
		want    step
		looks   bool // again soon
	}{
		{"nothing was asked for", state{entries: one}, nil, stepNone, false},
		{"a rotation is asked for", state{entries: one, rotate: "a"}, nil, stepAnnounce, true},
		{"the rotation that was asked for is over", state{entries: one, rotate: "a", record: record(PhaseDone, 0)}, nil, stepNone, false},
		{"another one is asked for", state{entries: one, rotate: "b", record: record(PhaseDone, 0)}, nil, stepAnnounce, true},
		{"a machine has not heard", state{entries: two, rotate: "a", record: record(PhaseAnnounced, overlap)}, asleep, stepNone, true},
		{"all have heard", state{entries: two, rotate: "a", record: record(PhaseAnnounced, time.Minute)}, nil, stepRetire, true},
		{"a person goes on without those that sleep", state{entries: two, rotate: "a", retire: "old", record: record(PhaseAnnounced, 0)}, asleep, stepRetire, true},
		{"the new key cannot be retired", state{entries: two, rotate: "a", retire: "new", record: record(PhaseAnnounced, 0)}, asleep, stepNone, true},
		{"another rotation waits for the first", state{entries: two, rotate: "b", record: record(PhaseAnnounced, 0)}, asleep, stepNone, true},
		{"the overlap lasts", state{entries: half, rotate: "a", record: record(PhaseRetired, overlap-time.Second)}, nil, stepNone, true},
		{"the overlap is over", state{entries: half, rotate: "a", record: record(PhaseRetired, overlap)}, nil, stepRemove, true},
		{"the overlap is over and a machine sleeps", state{entries: half, rotate: "a", record: record(PhaseRetired, overlap)}, asleep, stepNone, true},
		{"a person gives up those that sleep", state{entries: half, rotate: "a", remove: "old", record: record(PhaseRetired, 0)}, asleep, stepRemove, true},
		{"the new key cannot be removed", state{entries: half, rotate: "a", remove: "new", record: record(PhaseRetired, 0)}, asleep, stepNone, true},
		{"a key that is not retired cannot be removed", state{entries: two, rotate: "a", remove: "old", record: record(PhaseAnnounced, 0)}, asleep, stepNone, true},
		{"the new key is compromised too while the old one signs on", state{entries: half, rotate: "b", record: record(PhaseRetired, 0)}, asleep, stepAnnounce, true},
		{"the record is lost: the overlap begins anew", state{entries: half, rotate: "a"}, nil, stepAnnounce, true},
		{"the record is lost, and nothing is asked for", state{entries: half}, nil, stepNone, true},
		{"two keys that a person put there both stay", state{entries: two}, nil, stepNone, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.state.now, tt.state.overlap = now, overlap
			got, again := decide(tt.state, Fleet{Hosts: 3, Waiting: tt.waiting})
			if got != tt.want || (again.Sub(now) == countPause) != tt.looks {
				t.Errorf("step %q, again at %s, want %q", got, again, tt.want)
			}
		})
	}
}

func TestTheRecordTellsWhoIsWaitedFor(t *testing.T) {
	now := time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC)
	s := state{entries: []Entry{{Number: 1, KeyID: "old"}, {Number: 2, KeyID: "new"}}, record: &Record{Request: "a", Phase: PhaseAnnounced, Since: now}, overlap: time.Hour, now: now.Add(time.Minute)}
	fleet := Fleet{Hosts: 100}
	for i := range 12 {
		fleet.Waiting = append(fleet.Waiting, fmt.Sprintf("shop/web-%02d", i))
	}
	r := s.recorded(fleet)
	if r.Hosts != 100 || r.Waiting != 12 || len(r.WaitingFor) != maxNamed || r.NewKey != "new" || fmt.Sprint(r.OldKeys) != "[old]" || !r.Since.Equal(now) || !strings.Contains(r.Next, "retire-signing-key") {
		t.Errorf("record is %+v", r)
	}
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if back := parseRecord(string(text)); back == nil || back.Phase != PhaseAnnounced || !back.Underway() {
		t.Errorf("it is read as %+v", back)
	}
	for _, broken := range []string{"", "null", "{", `{"phase":"Dancing"}`} {
		if r := parseRecord(broken); r != nil {
			t.Errorf("%q is read as %+v", broken, r)
		}
	}
}
