package admit

import (
	"strings"
	"testing"

	"github.com/restic-manager/restic-manager/api/wire"
)

var host = wire.HostRef{Namespace: "shop", Name: "web-1"}

func fire(change func(*wire.Fire)) wire.Fire {
	f := wire.Fire{Schedule: "nightly", SourceGroup: "etc", Nominal: "2026-03-29T02:30", Revision: "r1"}
	f.JobID = wire.FireID(host, f.Schedule, f.SourceGroup, f.Nominal)
	if change != nil {
		change(&f)
	}
	return f
}

func state(change func(*State)) State {
	s := State{Host: host, Published: true, Schedules: []Schedule{{Name: "hourly", Groups: []string{"db"}}, {Name: "nightly", Groups: []string{"etc", "home"}}}}
	if change != nil {
		change(&s)
	}
	return s
}

func TestDecide(t *testing.T) {
	for _, c := range []struct {
		name   string
		fire   wire.Fire
		state  State
		admit  bool
		reason wire.VerdictReason
		says   string
	}{
		{name: "a fire of a schedule and a group in the set runs", fire: fire(nil), state: state(nil), admit: true},
		{name: "another job of the group ran before", fire: fire(nil), admit: true,
			state: state(func(s *State) { s.LastJob = map[string]string{"etc": "fire-0000"} })},
		{name: "the set is newer than the one that the fire comes from, and still holds it", admit: true,
			fire: fire(func(f *wire.Fire) { f.Revision = "r0" }), state: state(nil)},
		{name: "the result is stored already", fire: fire(nil), reason: wire.VerdictAlreadyRun, says: "stored already",
			state: state(func(s *State) { s.LastJob = map[string]string{"etc": fire(nil).JobID} })},
		{name: "the host is suspended", fire: fire(nil), reason: wire.VerdictSuspended, says: "Host",
			state: state(func(s *State) { s.Suspended = true })},
		{name: "the schedule is suspended", fire: fire(nil), reason: wire.VerdictSuspended, says: "nightly",
			state: state(func(s *State) { s.Schedules[1].Suspended = true })},
		{name: "another schedule is suspended", fire: fire(nil), admit: true,
			state: state(func(s *State) { s.Schedules[0].Suspended = true })},
		{name: "the schedule was removed", fire: fire(nil), reason: wire.VerdictNotInSet, says: "nightly",
			state: state(func(s *State) { s.Schedules = s.Schedules[:1] })},
		{name: "the group was taken out of the schedule", fire: fire(nil), reason: wire.VerdictNotInSet, says: "etc",
			state: state(func(s *State) { s.Schedules[1].Groups = []string{"home"} })},
		{name: "nothing is published", fire: fire(nil), reason: wire.VerdictNotInSet, says: "nothing is published", state: State{Host: host}},
		{name: "the job id was made up", fire: fire(func(f *wire.Fire) { f.JobID = "fire-ffff" }), state: state(nil),
			reason: wire.VerdictNotInSet, says: "does not belong"},
		{name: "the job id is that of another host", state: state(nil), reason: wire.VerdictNotInSet, says: "does not belong",
			fire: fire(func(f *wire.Fire) {
				f.JobID = wire.FireID(wire.HostRef{Namespace: "shop", Name: "web-2"}, f.Schedule, f.SourceGroup, f.Nominal)
			})},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := Decide(c.fire, c.state)
			if got.Admit != c.admit || got.Reason != c.reason || got.JobID != c.fire.JobID {
				t.Fatalf("verdict is %+v, want admit=%v reason=%q", got, c.admit, c.reason)
			}
			if !strings.Contains(got.Message, c.says) {
				t.Errorf("message is %q, want something with %q", got.Message, c.says)
			}
			if err := got.Validate(); err != nil {
				t.Errorf("the verdict is not valid on the wire: %v", err)
			}
		})
	}
}
