package moment

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// examples end each error.
const examples = `write for instance "yesterday 18:00", "2h ago", "monday 09:30", "2026-11-28 14:30" or 2026-11-28T14:30:00Z`

// Parse reads a moment in the past, seen from now and in its zone.
func Parse(text string, now time.Time) (time.Time, error) {
	cleaned := strings.ToLower(strings.Join(strings.Fields(text), " "))
	if cleaned == "" {
		return time.Time{}, fmt.Errorf("no time is given: %s", examples)
	}
	t, ok := parse(cleaned, strings.TrimSpace(text), now)
	switch {
	case !ok:
		return time.Time{}, fmt.Errorf("%q is no time: %s", text, examples)
	case t.After(now):
		return time.Time{}, fmt.Errorf("%q is %s, which has not come yet", text, t.Format(time.RFC3339))
	}
	return t, nil
}

func parse(text, original string, now time.Time) (time.Time, bool) {
	if text == "now" {
		return now, true
	}
	if t, ok := written(original, now.Location()); ok {
		return t, true
	}
	if t, ok := ago(text, now); ok {
		return t, true
	}
	return named(text, now)
}

// written is a date with or without a time.
func written(text string, zone *time.Location) (time.Time, bool) {
	text = strings.Join(strings.Fields(text), " ")
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t, true
	}
	for _, layout := range []string{"2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02T15:04:05", "2006-01-02T15:04", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, text, zone); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

var (
	span  = regexp.MustCompile(`^(\d+) ?(seconds?|secs?|s|months?|minutes?|mins?|m|hours?|h|days?|d|weeks?|w|years?|y)`)
	clock = regexp.MustCompile(`^(\d{1,2})(?::(\d{2}))?(?::(\d{2}))? ?(am|pm)?$`)
)

// ago is a number of units: "2h ago", "1 day 3 hours ago", "90m".
func ago(text string, now time.Time) (time.Time, bool) {
	rest := strings.TrimSpace(strings.TrimSuffix(text, "ago"))
	rest = strings.TrimPrefix(rest, "-")
	t := now
	for first := true; rest != "" || first; first = false {
		m := span.FindStringSubmatch(rest)
		if m == nil {
			return time.Time{}, false
		}
		n, err := strconv.Atoi(m[1])
		if err != nil || n > 1_000_000 {
			return time.Time{}, false
		}
		switch unit := m[2]; {
		case strings.HasPrefix(unit, "mo"):
			t = t.AddDate(0, -n, 0)
		case unit[0] == 's':
			t = t.Add(-time.Duration(n) * time.Second)
		case unit[0] == 'm':
			t = t.Add(-time.Duration(n) * time.Minute)
		case unit[0] == 'h':
			t = t.Add(-time.Duration(n) * time.Hour)
		case unit[0] == 'd':
			t = t.AddDate(0, 0, -n)
		case unit[0] == 'w':
			t = t.AddDate(0, 0, -7*n)
		case unit[0] == 'y':
			t = t.AddDate(-n, 0, 0)
		}
		rest = strings.TrimLeft(rest[len(m[0]):], " ,")
		rest = strings.TrimPrefix(rest, "and ")
	}
	return t, true
}

var weekdays = map[string]time.Weekday{
	"sunday": time.Sunday, "monday": time.Monday, "tuesday": time.Tuesday, "wednesday": time.Wednesday,
	"thursday": time.Thursday, "friday": time.Friday, "saturday": time.Saturday,
}

// named is a day by name with or without a time of day, or a time of day alone.
func named(text string, now time.Time) (time.Time, bool) {
	text = strings.TrimPrefix(text, "last ")
	day, rest, _ := strings.Cut(text, " ")
	rest = strings.TrimPrefix(rest, "at ")
	back, isDay := 0, true
	switch day {
	case "today":
	case "yesterday":
		back = 1
	default:
		weekday, found := weekdayOf(day)
		if found {
			back = int(now.Weekday()-weekday+7) % 7
		}
		isDay = found
	}
	if !isDay {
		t, ok := timeOfDay(text, now)
		if ok && t.After(now) {
			t, ok = timeOfDay(text, now.AddDate(0, 0, -1))
		}
		return t, ok
	}
	if rest == "" {
		rest = "00:00"
	}
	t, ok := timeOfDay(rest, now.AddDate(0, 0, -back))
	if ok && t.After(now) && back == 0 && day != "today" { // this weekday, later: that of last week
		t, ok = timeOfDay(rest, now.AddDate(0, 0, -7))
	}
	return t, ok
}

// weekdayOf takes names of three letters and more.
func weekdayOf(text string) (time.Weekday, bool) {
	for name, day := range weekdays {
		if len(text) >= 3 && strings.HasPrefix(name, text) {
			return day, true
		}
	}
	return 0, false
}

// timeOfDay is "18:00", "6pm", "noon" or "midnight" on the day of t.
func timeOfDay(text string, t time.Time) (time.Time, bool) {
	at := func(hour, minute, second int) (time.Time, bool) {
		return time.Date(t.Year(), t.Month(), t.Day(), hour, minute, second, 0, t.Location()), true
	}
	switch text {
	case "noon":
		return at(12, 0, 0)
	case "midnight":
		return at(0, 0, 0)
	}
	m := clock.FindStringSubmatch(text)
	if m == nil || m[2] == "" && m[4] == "" { // a number alone is no time of day
		return time.Time{}, false
	}
	hour, _ := strconv.Atoi(m[1])
	minute, _ := strconv.Atoi("0" + m[2])
	second, _ := strconv.Atoi("0" + m[3])
	if m[4] != "" {
		if hour < 1 || hour > 12 {
			return time.Time{}, false
		}
		hour %= 12
		if m[4] == "pm" {
			hour += 12
		}
	}
	if hour > 23 || minute > 59 || second > 59 {
		return time.Time{}, false
	}
	return at(hour, minute, second)
}
