package cron

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/restic-manager/restic-manager/agent/atomicfile/atomicfiletest"
	"github.com/restic-manager/restic-manager/agent/clock/clocktest"
	"github.com/restic-manager/restic-manager/api/cronspec"
	"github.com/restic-manager/restic-manager/api/wire"
)

// A year in steps of random length, with restarts at random places, among them between a fire and its settling. Each nominal time runs at most
// once (the ledger is a map here, as it is outside), and each is accounted for: handed out, or counted as skipped by a later one.
func TestAYearWithRestartsRunsEachNominalTimeAtMostOnceAndLosesNone(t *testing.T) {
	for _, c := range []struct {
		cron, zone string
		jitter     int64
	}{
		{"30 2 * * *", "Europe/Zurich", 0},
		{"*/30 * * * *", "America/New_York", 600},
		{"0 * * * *", "Australia/Lord_Howe", 5400}, // the jitter is longer than the interval
		{"15 1-3 * * *", "Europe/Zurich", 2700},
	} {
		for seed := range uint64(2) {
			t.Run(fmt.Sprintf("%s in %s, seed %d", c.cron, c.zone, seed), func(t *testing.T) {
				simulate(t, c.cron, c.zone, c.jitter, rand.New(rand.NewPCG(seed, 1)))
			})
		}
	}
}

func simulate(t *testing.T, expression, zone string, jitter int64, random *rand.Rand) {
	begin := time.Date(2026, 1, 1, 0, 0, 30, 0, time.UTC)
	clock := clocktest.New(begin)
	disk := atomicfiletest.New("cron.json") // some ten thousand fsyncs would take minutes
	schedules := &wire.ScheduleSet{Revision: "r1", Schedules: []wire.Schedule{{Name: "s", Cron: expression, TimeZone: zone, JitterSeconds: jitter,
		Groups: []string{"a", "b"}, WhenDisconnected: wire.WhenDisconnectedRun, StartingDeadlineSeconds: 3600}}}
	spec, err := cronspec.Parse(expression, zone)
	if err != nil {
		t.Fatal(err)
	}
	var c *Cron
	start := func() {
		if c, err = Open(Options{Host: web1, File: disk, Clock: clock, Logger: quiet}); err != nil {
			t.Fatal(err)
		}
		if err := c.Update(schedules); err != nil {
			t.Fatal(err)
		}
	}
	start()

	ledger := map[string]bool{}
	accounted := map[key]int{} // how many nominal times of a group, from the first, are accounted for
	nominals := spec.Between(begin, begin.AddDate(1, 0, 7), 1_000_000)
	index := make(map[string]int, len(nominals))
	for i, n := range nominals {
		index[n.Nominal] = i
	}
	last := map[key]time.Time{}
	for clock.Now().Before(begin.AddDate(1, 0, 0)) {
		fires, wait := c.due()
		for _, f := range fires {
			k := key{f.Schedule, f.SourceGroup}
			i, named := index[f.Nominal]
			if !named {
				t.Fatalf("%s is not named by the expression", f.Nominal)
			}
			if clock.Now().Before(f.Due) || f.Due.Sub(nominals[i].At) >= max(time.Duration(jitter)*time.Second, 1) {
				t.Fatalf("%s fired at %v, due %v", f.Nominal, clock.Now(), f.Due)
			}
			if from := i - f.Skipped; from > accounted[k] {
				t.Fatalf("%v: nominal times %d to %d are lost before %s", k, accounted[k], from-1, f.Nominal)
			}
			if late := clock.Now().Sub(f.Due); f.Missed != (late > time.Hour) {
				t.Fatalf("%s is %v late and missed=%v", f.Nominal, late, f.Missed)
			}
			accounted[k] = max(accounted[k], i+1)
			switch random.IntN(20) {
			case 0: // killed before the ledger knew
				start()
			case 1: // killed after the ledger knew, before cron did
				run(t, ledger, f, last)
				start()
			default:
				run(t, ledger, f, last)
				if err := c.Settle(f); err != nil {
					t.Fatal(err)
				}
				continue
			}
			break // a dead process hands out nothing more
		}
		step := max(wait, time.Second)
		if random.IntN(50) == 0 { // down or asleep
			step = time.Duration(random.Int64N(int64(12 * time.Hour)))
		} else if wait == maxWait {
			step = time.Duration(random.Int64N(int64(40 * time.Minute)))
		}
		clock.Advance(step)
		if random.IntN(30) == 0 {
			start()
		}
	}
	for _, k := range []key{{"s", "a"}, {"s", "b"}} {
		due := slices.IndexFunc(nominals, func(f cronspec.Fire) bool { return f.At.After(clock.Now().Add(-24 * time.Hour)) })
		if accounted[k] < due {
			t.Errorf("%v: %d of %d nominal times are accounted for", k, accounted[k], due)
		}
	}
}

// run is the agent: the ledger drops what it knows.
func run(t *testing.T, ledger map[string]bool, f Fire, last map[key]time.Time) {
	if ledger[f.JobID] {
		return
	}
	ledger[f.JobID] = true
	k := key{f.Schedule, f.SourceGroup}
	if !f.At.After(last[k]) {
		t.Fatalf("%v: %v runs after %v", k, f.At, last[k])
	}
	last[k] = f.At
}
