package cronspec_test

import (
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/google/go-cmp/cmp"

	"github.com/restic-manager/restic-manager/api/cronspec"
)

var reference = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func parse(t *testing.T, expression, zone string) *cronspec.Spec {
	t.Helper()
	s, err := cronspec.Parse(expression, zone)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func instant(t *testing.T, s string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// lines shows fires as "nominal at instant".
func lines(fires []cronspec.Fire) []string {
	var out []string
	for _, f := range fires {
		out = append(out, f.Nominal+" at "+f.At.Format(time.RFC3339))
	}
	return out
}

func TestFiresOverClockChanges(t *testing.T) {
	for _, c := range []struct {
		name, cron, zone, after, until string
		want                           []string
	}{
		{"a skipped 02:30 runs once, right after the gap", "30 2 * * *", "Europe/Zurich", "2026-03-28T00:00:00Z", "2026-03-30T12:00:00Z", []string{
			"2026-03-28T02:30 at 2026-03-28T02:30:00+01:00",
			"2026-03-29T02:30 at 2026-03-29T03:00:00+02:00",
			"2026-03-30T02:30 at 2026-03-30T02:30:00+02:00",
		}},
		{"a repeated 02:30 runs once, the first time", "30 2 * * *", "Europe/Zurich", "2026-10-24T00:00:00Z", "2026-10-26T12:00:00Z", []string{
			"2026-10-24T02:30 at 2026-10-24T02:30:00+02:00",
			"2026-10-25T02:30 at 2026-10-25T02:30:00+02:00",
			"2026-10-26T02:30 at 2026-10-26T02:30:00+01:00",
		}},
		{"the end of the gap is its own time", "0 3 * * *", "Europe/Zurich", "2026-03-28T12:00:00Z", "2026-03-29T12:00:00Z", []string{
			"2026-03-29T03:00 at 2026-03-29T03:00:00+02:00",
		}},
		{"02:30 and 03:00 of that day are one fire", "0,30 2,3 * * *", "Europe/Zurich", "2026-03-28T12:00:00Z", "2026-03-29T12:00:00Z", []string{
			"2026-03-29T03:00 at 2026-03-29T03:00:00+02:00",
			"2026-03-29T03:30 at 2026-03-29T03:30:00+02:00",
		}},
		{"02:30 is a fire beside 03:30", "30 2,3 * * *", "Europe/Zurich", "2026-03-28T12:00:00Z", "2026-03-29T12:00:00Z", []string{
			"2026-03-29T02:30 at 2026-03-29T03:00:00+02:00",
			"2026-03-29T03:30 at 2026-03-29T03:30:00+02:00",
		}},
		{"several times in a gap are one fire, named by the last", "10,20,40 2 * * *", "Europe/Zurich", "2026-03-28T12:00:00Z", "2026-03-29T12:00:00Z", []string{
			"2026-03-29T02:40 at 2026-03-29T03:00:00+02:00",
		}},
		{"hourly in spring: 02:00 and 03:00 are one instant", "@hourly", "Europe/Zurich", "2026-03-28T23:30:00Z", "2026-03-29T02:30:00Z", []string{
			"2026-03-29T01:00 at 2026-03-29T01:00:00+01:00",
			"2026-03-29T03:00 at 2026-03-29T03:00:00+02:00",
			"2026-03-29T04:00 at 2026-03-29T04:00:00+02:00",
		}},
		{"hourly in autumn: the repeated 02:00 has run", "@hourly", "Europe/Zurich", "2026-10-24T22:30:00Z", "2026-10-25T02:30:00Z", []string{
			"2026-10-25T01:00 at 2026-10-25T01:00:00+02:00",
			"2026-10-25T02:00 at 2026-10-25T02:00:00+02:00",
			"2026-10-25T03:00 at 2026-10-25T03:00:00+01:00",
		}},
		{"every quarter of an hour in spring", "*/15 * * * *", "Europe/Zurich", "2026-03-29T00:40:00Z", "2026-03-29T01:20:00Z", []string{
			"2026-03-29T01:45 at 2026-03-29T01:45:00+01:00",
			"2026-03-29T03:00 at 2026-03-29T03:00:00+02:00",
			"2026-03-29T03:15 at 2026-03-29T03:15:00+02:00",
		}},
		{"every quarter of an hour in autumn", "*/15 * * * *", "Europe/Zurich", "2026-10-25T00:20:00Z", "2026-10-25T02:20:00Z", []string{
			"2026-10-25T02:30 at 2026-10-25T02:30:00+02:00",
			"2026-10-25T02:45 at 2026-10-25T02:45:00+02:00",
			"2026-10-25T03:00 at 2026-10-25T03:00:00+01:00",
			"2026-10-25T03:15 at 2026-10-25T03:15:00+01:00",
		}},
		{"asked from within the second 02:xx nothing of it comes again", "@hourly", "Europe/Zurich", "2026-10-25T01:10:00Z", "2026-10-25T02:00:00Z", []string{
			"2026-10-25T03:00 at 2026-10-25T03:00:00+01:00",
		}},
		{"New York in spring", "30 2 * * *", "America/New_York", "2026-03-07T12:00:00Z", "2026-03-09T12:00:00Z", []string{
			"2026-03-08T02:30 at 2026-03-08T03:00:00-04:00",
			"2026-03-09T02:30 at 2026-03-09T02:30:00-04:00",
		}},
		{"New York in autumn", "30 1 * * *", "America/New_York", "2026-10-31T12:00:00Z", "2026-11-02T12:00:00Z", []string{
			"2026-11-01T01:30 at 2026-11-01T01:30:00-04:00",
			"2026-11-02T01:30 at 2026-11-02T01:30:00-05:00",
		}},
		{"hourly in New York in autumn", "0 * * * *", "America/New_York", "2026-11-01T03:30:00Z", "2026-11-01T07:30:00Z", []string{
			"2026-11-01T00:00 at 2026-11-01T00:00:00-04:00",
			"2026-11-01T01:00 at 2026-11-01T01:00:00-04:00",
			"2026-11-01T02:00 at 2026-11-01T02:00:00-05:00",
		}},
		{"Lord Howe skips half an hour", "*/15 * * * *", "Australia/Lord_Howe", "2026-10-03T15:10:00Z", "2026-10-03T15:50:00Z", []string{
			"2026-10-04T01:45 at 2026-10-04T01:45:00+10:30",
			"2026-10-04T02:30 at 2026-10-04T02:30:00+11:00",
			"2026-10-04T02:45 at 2026-10-04T02:45:00+11:00",
		}},
		{"Lord Howe repeats half an hour", "*/15 * * * *", "Australia/Lord_Howe", "2026-04-04T14:20:00Z", "2026-04-04T15:35:00Z", []string{
			"2026-04-05T01:30 at 2026-04-05T01:30:00+11:00",
			"2026-04-05T01:45 at 2026-04-05T01:45:00+11:00",
			"2026-04-05T02:00 at 2026-04-05T02:00:00+10:30",
		}},
		{"a midnight that does not exist", "@daily", "America/Sao_Paulo", "2018-11-03T12:00:00Z", "2018-11-05T12:00:00Z", []string{
			"2018-11-04T00:00 at 2018-11-04T01:00:00-02:00",
			"2018-11-05T00:00 at 2018-11-05T00:00:00-02:00",
		}},
		{"a day that does not exist", "0 12 * * *", "Pacific/Apia", "2011-12-29T00:00:00Z", "2011-12-31T00:00:00Z", []string{
			"2011-12-29T12:00 at 2011-12-29T12:00:00-10:00",
			"2011-12-30T12:00 at 2011-12-31T00:00:00+14:00",
			"2011-12-31T12:00 at 2011-12-31T12:00:00+14:00",
		}},
		{"leap days", "0 0 29 2 *", "UTC", "2026-01-01T00:00:00Z", "2033-01-01T00:00:00Z", []string{
			"2028-02-29T00:00 at 2028-02-29T00:00:00Z",
			"2032-02-29T00:00 at 2032-02-29T00:00:00Z",
		}},
		{"leap days around 2100, which is none", "0 0 29 2 *", "UTC", "2096-01-01T00:00:00Z", "2105-01-01T00:00:00Z", []string{
			"2096-02-29T00:00 at 2096-02-29T00:00:00Z",
			"2104-02-29T00:00 at 2104-02-29T00:00:00Z",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := parse(t, c.cron, c.zone).Between(instant(t, c.after), instant(t, c.until), 100)
			if diff := cmp.Diff(c.want, lines(got)); diff != "" {
				t.Errorf("%s in %s (-want +got):\n%s", c.cron, c.zone, diff)
			}
		})
	}
}

func TestAYearOfFiresIsOrderedAndEachNominalTimeComesOnce(t *testing.T) {
	for _, zone := range []string{"Europe/Zurich", "America/New_York", "Australia/Lord_Howe", "UTC", "America/Sao_Paulo", "Africa/Casablanca"} {
		s := parse(t, "*/10 * * * *", zone)
		fires := s.Between(reference, reference.AddDate(1, 0, 0), 100_000)
		if len(fires) < 52_000 {
			t.Errorf("%s: %d fires in a year of every 10 minutes", zone, len(fires))
		}
		for i := 1; i < len(fires); i++ {
			if !fires[i].At.After(fires[i-1].At) || fires[i].Nominal <= fires[i-1].Nominal {
				t.Fatalf("%s: %v comes after %v", zone, fires[i], fires[i-1])
			}
		}
	}
}

func TestPrevIsTheLastFireUpToNow(t *testing.T) {
	for _, c := range []struct{ cron, zone, at, want string }{
		{"30 2 * * *", "Europe/Zurich", "2026-03-29T00:59:59Z", "2026-03-28T02:30"},
		{"30 2 * * *", "Europe/Zurich", "2026-03-29T01:00:00Z", "2026-03-29T02:30"},
		{"@hourly", "Europe/Zurich", "2026-10-25T01:30:00Z", "2026-10-25T02:00"},
		{"@yearly", "UTC", "2026-12-31T23:59:59Z", "2026-01-01T00:00"},
		{"0 0 29 2 *", "UTC", "2104-02-28T00:00:00Z", "2096-02-29T00:00"},
		{"* * * * *", "UTC", "2026-05-05T05:05:30Z", "2026-05-05T05:05"},
	} {
		got, ok := parse(t, c.cron, c.zone).Prev(instant(t, c.at))
		if !ok || got.Nominal != c.want {
			t.Errorf("%s in %s before %s: %v %v, want %s", c.cron, c.zone, c.at, got, ok, c.want)
		}
	}
}

func TestPrevAndNextAgreeOnEveryFire(t *testing.T) {
	for _, expression := range []string{"*/20 * * * *", "30 2 * * *", "15 1-3 * * 0", "0 0 1 * *"} {
		s := parse(t, expression, "Europe/Zurich")
		fires := s.Between(reference, reference.AddDate(1, 0, 0), 100_000)
		for i, f := range fires {
			if got, ok := s.Prev(f.At); !ok || got != f {
				t.Fatalf("%s: at %v the last fire is %v, want itself", expression, f, got)
			}
			if i > 0 {
				if got, ok := s.Prev(f.At.Add(-1)); !ok || got != fires[i-1] {
					t.Fatalf("%s: just before %v the last fire is %v, want %v", expression, f, got, fires[i-1])
				}
			}
		}
	}
}

func TestBetweenIsBounded(t *testing.T) {
	if got := parse(t, "* * * * *", "").Between(reference, reference.AddDate(10, 0, 0), 7); len(got) != 7 {
		t.Errorf("%d fires, want 7", len(got))
	}
}
