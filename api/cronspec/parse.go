package cronspec

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/robfig/cron/v3"
)

// MaxExpression bounds an expression, in bytes.
const MaxExpression = 253

// Spec is a cron expression in a time zone.
type Spec struct {
	expression string
	schedule   *cron.SpecSchedule
	location   *time.Location
}

// String is the expression, for logs.
func (s *Spec) String() string { return s.expression + " " + s.location.String() }

// Location is the zone whose wall clock the expression names.
func (s *Spec) Location() *time.Location { return s.location }

var descriptors = []string{"@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually"}

var fieldNames = []string{"minute", "hour", "day of month", "month", "day of week"}

// Parse reads an expression of five fields (minute, hour, day of month, month, day of week) or a descriptor (@hourly, @daily, @midnight,
// @weekly, @monthly, @yearly, @annually), and an IANA time zone; an empty zone is UTC. The error is a sentence that says what to write instead.
func Parse(expression, timeZone string) (*Spec, error) {
	if known := parsed.get(expression, timeZone); known != nil {
		return known, nil
	}
	s, err := parse(expression, timeZone)
	if err == nil {
		parsed.put(expression, timeZone, s)
	}
	return s, err
}

func parse(expression, timeZone string) (*Spec, error) {
	location, err := loadZone(timeZone)
	if err != nil {
		return nil, err
	}
	schedule, err := parseExpression(strings.TrimSpace(expression))
	if err != nil {
		return nil, err
	}
	s := &Spec{expression: strings.TrimSpace(expression), schedule: schedule, location: location}
	if _, ok := s.nextWall(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)); !ok {
		return nil, fmt.Errorf("cron %q never fires: there is no such date", s.expression)
	}
	return s, nil
}

// zones are those that were loaded: reading one takes longer than the rest of Parse. There are some hundred names. A newer time zone database counts after
// the next start of the program.
var zones sync.Map

func loadZone(name string) (*time.Location, error) {
	if name == "" {
		return time.UTC, nil
	}
	if strings.EqualFold(name, "local") {
		return nil, fmt.Errorf("timeZone %q differs from machine to machine: write an IANA name such as Europe/Zurich, or UTC", name)
	}
	if known, ok := zones.Load(name); ok {
		return known.(*time.Location), nil
	}
	location, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("timeZone %q is not known: write an IANA name such as Europe/Zurich, or UTC", shorten(name))
	}
	zones.Store(name, location)
	return location, nil
}

func parseExpression(expression string) (*cron.SpecSchedule, error) {
	switch upper := strings.ToUpper(expression); {
	case expression == "":
		return nil, fmt.Errorf("cron is empty: write five fields such as %q, or one of %s", "30 2 * * *", strings.Join(descriptors, ", "))
	case len(expression) > MaxExpression:
		return nil, fmt.Errorf("cron is longer than %d characters", MaxExpression)
	case strings.Contains(upper, "TZ="):
		return nil, fmt.Errorf("cron %q names a time zone: leave it out and set timeZone instead", expression)
	case strings.HasPrefix(upper, "@EVERY"):
		return nil, fmt.Errorf("cron %q is not tied to the clock: for every half hour write \"*/30 * * * *\"", expression)
	case upper == "@REBOOT":
		return nil, fmt.Errorf("cron %q is not supported: a backup that was missed while the machine was off runs by itself when it is back", expression)
	case strings.HasPrefix(expression, "@"):
		for _, d := range descriptors {
			if d == expression {
				return parseGuarded(expression)
			}
		}
		return nil, fmt.Errorf("cron %q is not known: write five fields such as %q, or one of %s", expression, "30 2 * * *", strings.Join(descriptors, ", "))
	}
	fields := strings.Fields(expression)
	switch {
	case len(fields) == 6:
		return nil, fmt.Errorf("cron %q has six fields: there are no seconds; leave out the first, so that %s remain", expression, strings.Join(fieldNames, ", "))
	case len(fields) != 5:
		return nil, fmt.Errorf("cron %q has %d of five fields: %s", expression, len(fields), strings.Join(fieldNames, ", "))
	}
	// One field at a time, so that the error names it.
	for i, field := range fields {
		if err := checkField(i, field); err != nil {
			return nil, fmt.Errorf("cron %q: %w", expression, err)
		}
	}
	return parseGuarded(strings.Join(fields, " "))
}

func checkField(i int, field string) error {
	// The library takes an empty list for "never".
	for part := range strings.SplitSeq(field, ",") {
		if part == "" {
			return fmt.Errorf("%s %q has an empty part", fieldNames[i], field)
		}
	}
	alone := []string{"*", "*", "*", "*", "*"}
	alone[i] = field
	_, err := parseGuarded(strings.Join(alone, " "))
	switch {
	case err == nil:
		return nil
	case strings.Contains(err.Error(), "failed to parse int"):
		return fmt.Errorf("%s %q is neither a number, a name, * nor a range or list of these", fieldNames[i], field)
	case i == 4 && strings.Contains(field, "7"):
		return fmt.Errorf("%s %q is not valid: days are 0 (Sunday) to 6 (Saturday), or sun to sat", fieldNames[i], field)
	}
	// The library ends its messages with the part that it means.
	reason, part, _ := strings.Cut(err.Error(), ": ")
	return fmt.Errorf("%s %q is not valid: in %q the %s", fieldNames[i], field, part, reason)
}

var parser = cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor)

// parseGuarded calls the library, which has been seen to panic.
func parseGuarded(expression string) (schedule *cron.SpecSchedule, err error) {
	defer func() {
		if r := recover(); r != nil {
			schedule, err = nil, fmt.Errorf("cron %q is not valid", expression)
		}
	}()
	parsed, err := parser.Parse(expression)
	if err != nil {
		return nil, err
	}
	schedule, ok := parsed.(*cron.SpecSchedule)
	if !ok {
		return nil, fmt.Errorf("cron %q is not tied to the clock", expression)
	}
	schedule.Location = time.UTC // wall.go knows about the zone
	return schedule, nil
}

func shorten(s string) string {
	if len(s) > 64 {
		return s[:61] + "..."
	}
	return s
}
