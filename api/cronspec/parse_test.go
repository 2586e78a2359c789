package cronspec_test

import (
	"strings"
	"testing"

	"github.com/restic-manager/restic-manager/api/cronspec"
)

func TestExpressionsThatAreAccepted(t *testing.T) {
	for _, expression := range []string{
		"30 2 * * *", "*/15 * * * *", "0 0 1,15 * mon-fri", "5-59/10 1-3 ? jan,JUL *", "  0   4 * *\t0 ",
		"@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually", "0 0 29 2 *", "0 0 31 2 1",
	} {
		if _, err := cronspec.Parse(expression, "Europe/Zurich"); err != nil {
			t.Errorf("%q: %v", expression, err)
		}
	}
	if s, err := cronspec.Parse("@daily", ""); err != nil || s.Location().String() != "UTC" {
		t.Errorf("an empty zone must be UTC: %v, %v", s, err)
	}
}

func TestExpressionsThatAreRefusedSayWhatToWrite(t *testing.T) {
	for _, c := range []struct{ name, expression, zone, want string }{
		{"nothing", " ", "", "cron is empty: write five fields"},
		{"a zone alone, which makes the library panic", "TZ=UTC", "", "set timeZone instead"},
		{"a zone before the fields", "CRON_TZ=Europe/Zurich 0 1 * * *", "", "set timeZone instead"},
		{"a zone in small letters", "tz=UTC 0 1 * * *", "", "set timeZone instead"},
		{"an interval", "@every 1h", "", "not tied to the clock: for every half hour write \"*/30 * * * *\""},
		{"at boot", "@reboot", "", "runs by itself when it is back"},
		{"a descriptor that is not known", "@fortnightly", "", "@hourly, @daily"},
		{"a descriptor with a tail", "@daily x", "", "is not known"},
		{"seconds", "0 30 2 * * *", "", "has six fields: there are no seconds"},
		{"four fields", "30 2 * *", "", "has 4 of five fields: minute, hour, day of month, month, day of week"},
		{"a minute out of range", "60 * * * *", "", `minute "60" is not valid: in "60" the end of range (60) above maximum (59)`},
		{"an hour out of a list", "0 1,24 * * *", "", `hour "1,24" is not valid: in "24" the end of range (24) above maximum (23)`},
		{"Sunday as 7", "0 0 * * 7", "", "0 (Sunday) to 6 (Saturday)"},
		{"Quartz's last day", "0 0 L * *", "", `day of month "L" is neither a number`},
		{"an unknown month", "0 0 1 foo *", "", `month "foo" is neither a number`},
		{"an empty list", ", * * * *", "", `minute "," has an empty part`},
		{"a trailing comma", "0 1, * * *", "", `hour "1," has an empty part`},
		{"a step of nothing", "*/0 * * * *", "", "step of range should be a positive number"},
		{"a range backwards", "0 5-2 * * *", "", "beginning of range (5) beyond end of range (2)"},
		{"two hyphens", "1-2-3 * * * *", "", "too many hyphens"},
		{"a negative number", "-5 * * * *", "", `minute "-5" is neither a number`},
		{"31 February", "0 0 31 2 *", "", "never fires"},
		{"30 February and 31 November", "0 0 30,31 2 *", "", "never fires"},
		{"a very long one", strings.Repeat("1,", 200) + "1 * * * *", "", "longer than 253"},
		{"an unknown zone", "@daily", "Europe/Zürich", `timeZone "Europe/Zürich" is not known`},
		{"a zone that is a path", "@daily", "../../etc/passwd", "is not known"},
		{"the machine's own zone", "@daily", "Local", "differs from machine to machine"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := cronspec.Parse(c.expression, c.zone)
			if err == nil {
				t.Fatalf("%q was accepted as %v", c.expression, s)
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("%q: %v\nwant it to say: %s", c.expression, err, c.want)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"30 2 * * *", "TZ=UTC", "@every 1h", "@daily", "*/15 1-5,7 ? jan sun", "0 0 31 2 *", ",,,,", "1/2/3 * * * *"} {
		f.Add(seed, "Europe/Zurich")
	}
	f.Add("@daily", "Local")
	f.Fuzz(func(t *testing.T, expression, zone string) {
		s, err := cronspec.Parse(expression, zone)
		if err != nil {
			if s != nil || err.Error() == "" {
				t.Errorf("%q: spec %v beside error %q", expression, s, err)
			}
			return
		}
		first, ok := s.Next(reference)
		if !ok || !first.At.After(reference) {
			t.Fatalf("%q in %q was accepted and does not fire after %v: %v, %v", expression, zone, reference, first, ok)
		}
		if prev, ok := s.Prev(first.At); !ok || prev != first {
			t.Errorf("%q in %q: before %v inclusive there is %v, want %v", expression, zone, first.At, prev, first)
		}
	})
}
