package job

import (
	"testing"
	"time"

	"github.com/restic-manager/restic-manager/agent/restic"
	"github.com/restic-manager/restic-manager/api/wire"
)

func TestCapsDependOnTheTimeOfDayAndTheGroup(t *testing.T) {
	office := wire.Bandwidth{UploadKBps: 1000, DownloadKBps: 2000, TimeZone: "Europe/Zurich", Windows: []wire.BandwidthWindow{{From: "08:00", To: "18:00", UploadKBps: 100}}}
	noon, night := begin, begin.Add(12*time.Hour) // 14:00 and 02:00 in Zurich
	for _, c := range []struct {
		name        string
		at          time.Time
		group, host wire.Bandwidth
		want        restic.Limits
	}{
		{"the host's window", noon, wire.Bandwidth{}, office, restic.Limits{UploadKBps: 100}},
		{"outside of the host's window", night, wire.Bandwidth{}, office, restic.Limits{UploadKBps: 1000, DownloadKBps: 2000}},
		{"a group's own cap replaces the host's in its direction", noon, wire.Bandwidth{UploadKBps: 7}, office, restic.Limits{UploadKBps: 7}},
		{"and leaves the other one", night, wire.Bandwidth{UploadKBps: 7}, office, restic.Limits{UploadKBps: 7, DownloadKBps: 2000}},
		{"a group's own windows replace all of the host's", noon, wire.Bandwidth{Windows: []wire.BandwidthWindow{{From: "12:00", To: "13:00", DownloadKBps: 5}}}, office, restic.Limits{DownloadKBps: 5}},
		{"also outside of them, where no cap means none", night, wire.Bandwidth{Windows: []wire.BandwidthWindow{{From: "12:00", To: "13:00", DownloadKBps: 5}}}, office, restic.Limits{}},
		{"no caps at all", noon, wire.Bandwidth{}, wire.Bandwidth{}, restic.Limits{}},
	} {
		if got := limitsAt(c.at, c.group, c.host); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

func TestEachStartOfResticAsksForTheCapsOfItsTime(t *testing.T) {
	f := newFixture(t, patient)
	j := backupJob("job-1", "/srv/a")
	j.Bandwidth = wire.Bandwidth{UploadKBps: 1000, Windows: []wire.BandwidthWindow{{From: "12:01", To: "13:00", UploadKBps: 100}}}
	f.submit(j)
	c := f.next("backup")
	if c.backup.Limits.UploadKBps != 1000 {
		t.Errorf("at 12:00 %+v", c.backup.Limits)
	}
	c.done(reply{err: failure(restic.KindUnreachable)})
	f.pass(1, time.Minute)
	c = f.next("backup")
	if c.backup.Limits.UploadKBps != 100 {
		t.Errorf("at 12:01 %+v", c.backup.Limits)
	}
	c.done(reply{backup: restic.BackupResult{SnapshotID: "abcdef01"}})
	f.result("job-1")
}
