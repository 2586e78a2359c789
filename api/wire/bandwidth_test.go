package wire_test

import (
	"testing"
	"time"
	_ "time/tzdata" // the table does not depend on what the machine has

	"github.com/restic-manager/restic-manager/api/wire"
)

func TestTheCapsThatHoldAtATime(t *testing.T) {
	window := func(from, to string, upload, download int) wire.BandwidthWindow {
		return wire.BandwidthWindow{From: from, To: to, UploadKBps: upload, DownloadKBps: download}
	}
	caps := func(zone string, windows ...wire.BandwidthWindow) wire.Bandwidth {
		return wire.Bandwidth{UploadKBps: 100, DownloadKBps: 200, TimeZone: zone, Windows: windows}
	}
	const zurich = "Europe/Zurich"
	day, night := window("08:00", "18:30", 10, 20), window("22:00", "06:00", 0, 50)
	for _, c := range []struct {
		sentence         string
		caps             wire.Bandwidth
		at               string // UTC
		upload, download int
	}{
		{"nothing set means no cap", wire.Bandwidth{}, "2026-01-15T12:00:00Z", 0, 0},
		{"without windows the caps always hold", caps(""), "2026-01-15T12:00:00Z", 100, 200},
		{"before a window the caps hold", caps("", day), "2026-01-15T07:59:59Z", 100, 200},
		{"a window begins with its first minute", caps("", day), "2026-01-15T08:00:00Z", 10, 20},
		{"a window ends before its last minute", caps("", day), "2026-01-15T18:29:59Z", 10, 20},
		{"the minute of its end is outside", caps("", day), "2026-01-15T18:30:00Z", 100, 200},
		{"a window over midnight holds in the evening", caps("", night), "2026-01-15T23:15:00Z", 0, 50},
		{"a window over midnight holds in the morning", caps("", night), "2026-01-15T05:59:00Z", 0, 50},
		{"a window over midnight does not hold by day", caps("", night), "2026-01-15T06:00:00Z", 100, 200},
		{"a window to 24:00 holds until midnight", caps("", window("20:00", "24:00", 1, 0)), "2026-01-15T23:59:59Z", 1, 0},
		{"a window to 24:00 ends at midnight", caps("", window("20:00", "24:00", 1, 0)), "2026-01-16T00:00:00Z", 100, 200},
		{"a window to 00:00 ends at midnight too", caps("", window("20:00", "00:00", 1, 0)), "2026-01-16T00:00:00Z", 100, 200},
		{"the whole day is one window", caps("", window("00:00", "24:00", 3, 4)), "2026-01-15T00:00:00Z", 3, 4},
		{"of two windows the first counts", caps("", day, window("12:00", "13:00", 5, 5)), "2026-01-15T12:30:00Z", 10, 20},
		{"a window lifts a cap that it leaves out", caps("", window("12:00", "13:00", 0, 0)), "2026-01-15T12:30:00Z", 0, 0},
		{"a damaged window is passed over", caps("", window("8", "18", 1, 1), day), "2026-01-15T09:00:00Z", 10, 20},
		{"windows count in their time zone", caps(zurich, day), "2026-01-15T07:00:00Z", 10, 20},
		{"in summer the same wall time is an hour earlier", caps(zurich, day), "2026-07-15T06:00:00Z", 10, 20},
		{"a window in the gap of spring never comes", caps(zurich, window("02:00", "03:00", 7, 7)), "2026-03-29T01:00:00Z", 100, 200},
		{"a window over the gap of spring is an hour shorter", caps(zurich, window("01:30", "03:30", 7, 7)), "2026-03-29T01:29:00Z", 7, 7},
		{"a window over the gap of spring ends by the wall", caps(zurich, window("01:30", "03:30", 7, 7)), "2026-03-29T01:30:00Z", 100, 200},
		{"the doubled hour of autumn counts the first time", caps(zurich, window("02:00", "03:00", 7, 7)), "2026-10-25T00:30:00Z", 7, 7},
		{"the doubled hour of autumn counts the second time", caps(zurich, window("02:00", "03:00", 7, 7)), "2026-10-25T01:30:00Z", 7, 7},
		{"a time zone that is half an hour off", caps("Asia/Kolkata", window("05:30", "05:31", 9, 9)), "2026-01-15T00:00:00Z", 9, 9},
		{"an unknown time zone counts as UTC", caps("Atlantis/Center", day), "2026-01-15T08:00:00Z", 10, 20},
	} {
		t.Run(c.sentence, func(t *testing.T) {
			at, err := time.Parse(time.RFC3339, c.at)
			if err != nil {
				t.Fatal(err)
			}
			// The zone in which the caller's clock is set says nothing.
			for _, at := range []time.Time{at, at.In(time.FixedZone("elsewhere", -9*3600))} {
				if upload, download := c.caps.At(at); upload != c.upload || download != c.download {
					t.Errorf("at %s the caps are %d and %d, want %d and %d", at, upload, download, c.upload, c.download)
				}
			}
		})
	}
}

func TestWhichBandwidthIsSetAtAll(t *testing.T) {
	for _, c := range []struct {
		sentence string
		caps     wire.Bandwidth
		zero     bool
	}{
		{"nothing", wire.Bandwidth{}, true},
		{"an empty list of windows", wire.Bandwidth{Windows: []wire.BandwidthWindow{}}, true},
		{"one direction", wire.Bandwidth{DownloadKBps: 1}, false},
		{"windows alone", wire.Bandwidth{Windows: sampleBandwidth().Windows}, false},
	} {
		if got := c.caps.IsZero(); got != c.zero {
			t.Errorf("%s: IsZero is %v", c.sentence, got)
		}
	}
}
