package job

import (
	"strings"
	"testing"

	"github.com/restic-manager/restic-manager/agent/restic"
)

// An executor may get the maintenance of a thousand repositories in one minute.
func TestAnExecutorRunsFewJobsOfOthersAtATimeAndItsOwnAtOnce(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.MaxOthers = 2 })
	check := func(name string) {
		j := checkJob(name, "/srv/"+name)
		j.TargetHost, j.Ref.TargetHost = name, name
		f.submit(j)
	}
	// end lets one end, and returns which it was.
	end := func(c call) string {
		name := strings.TrimPrefix(c.repository.URL, "/srv/")
		c.done(reply{})
		f.result(name)
		return name
	}
	check("web-1")
	check("web-2")
	first, second := f.next("check"), f.next("check")
	check("web-3")

	f.submit(backupJob("own", "/srv/own"))
	f.next("backup").done(reply{backup: restic.BackupResult{SnapshotID: "abcdef01"}}) // and no third check before it
	f.result("own")

	end(first)
	if third := end(f.next("check")); third != "web-3" {
		t.Errorf("%s was checked next, want web-3", third)
	}

	// One that is cancelled while it waits for room leaves at once.
	check("web-4")
	fourth := f.next("check")
	check("web-5")
	if err := f.Cancel("web-5"); err != nil {
		t.Fatal(err)
	}
	f.result("web-5")
	end(second)
	end(fourth)
}
