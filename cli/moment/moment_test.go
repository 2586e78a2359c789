package moment

import (
	"strings"
	"testing"
	"time"
)

func TestTimesThatPeopleWrite(t *testing.T) {
	zurich, err := time.LoadLocation("Europe/Zurich")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 28, 14, 30, 0, 0, zurich) // a Saturday
	for _, tt := range []struct{ text, want string }{
		{"now", "2026-11-28T14:30:00+01:00"},
		{"2026-11-20T10:00:00Z", "2026-11-20T10:00:00Z"},
		{"2026-11-20 18:05", "2026-11-20T18:05:00+01:00"},
		{"2026-11-20T18:05", "2026-11-20T18:05:00+01:00"},
		{"2026-11-20", "2026-11-20T00:00:00+01:00"},
		{"2026-07-01 12:00", "2026-07-01T12:00:00+02:00"},
		{"2h ago", "2026-11-28T12:30:00+01:00"},
		{"2 hours ago", "2026-11-28T12:30:00+01:00"},
		{"90m", "2026-11-28T13:00:00+01:00"},
		{"1h30m", "2026-11-28T13:00:00+01:00"},
		{"1 day and 2 hours ago", "2026-11-27T12:30:00+01:00"},
		{"3d ago", "2026-11-25T14:30:00+01:00"},
		{"2 weeks ago", "2026-11-14T14:30:00+01:00"},
		{"1 month ago", "2026-10-28T14:30:00+01:00"},
		{"1y ago", "2025-11-28T14:30:00+01:00"},
		{"yesterday", "2026-11-27T00:00:00+01:00"},
		{"yesterday 18:00", "2026-11-27T18:00:00+01:00"},
		{"Yesterday  at 6pm", "2026-11-27T18:00:00+01:00"},
		{"today 09:15", "2026-11-28T09:15:00+01:00"},
		{"09:15", "2026-11-28T09:15:00+01:00"},
		{"18:00", "2026-11-27T18:00:00+01:00"},
		{"6:30pm", "2026-11-27T18:30:00+01:00"},
		{"12am", "2026-11-28T00:00:00+01:00"},
		{"noon", "2026-11-28T12:00:00+01:00"},
		{"midnight", "2026-11-28T00:00:00+01:00"},
		{"monday", "2026-11-23T00:00:00+01:00"},
		{"last friday 22:00", "2026-11-27T22:00:00+01:00"},
		{"sat 08:00", "2026-11-28T08:00:00+01:00"},
		{"saturday 20:00", "2026-11-21T20:00:00+01:00"},
	} {
		got, err := Parse(tt.text, now)
		if err != nil {
			t.Errorf("%q: %v", tt.text, err)
			continue
		}
		want, _ := time.Parse(time.RFC3339, tt.want)
		if !got.Equal(want) {
			t.Errorf("%q is %s, expected %s", tt.text, got.Format(time.RFC3339), tt.want)
		}
	}
}

func TestWhatIsNoTimeSaysWhatToWrite(t *testing.T) {
	now := time.Date(2026, 11, 28, 14, 30, 0, 0, time.UTC)
	for text, says := range map[string]string{
		"":                     "no time is given",
		"  ":                   "no time is given",
		"soon":                 "yesterday 18:00",
		"18":                   "is no time",
		"25:00":                "is no time",
		"13pm":                 "is no time",
		"ago":                  "is no time",
		"2 fortnights ago":     "is no time",
		"2026-13-01":           "is no time",
		"today 18:00":          "has not come yet",
		"2026-11-29":           "has not come yet",
		"2030-01-01T00:00:00Z": "has not come yet",
		"99999999999999h ago":  "is no time",
	} {
		if got, err := Parse(text, now); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, %v; expected an error with %q", text, got, err, says)
		}
	}
}
