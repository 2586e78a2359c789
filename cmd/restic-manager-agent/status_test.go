package main

import (
	"bytes"
	"regexp"
	"testing"
	"time"

	"github.com/restic-manager/restic-manager/agent"
	"github.com/restic-manager/restic-manager/api/wire"
)

func TestTheStatusTellsRefusalsAndMaintenance(t *testing.T) {
	at := time.Date(2026, 3, 1, 2, 30, 0, 0, time.UTC)
	var out bytes.Buffer
	err := printStatus(&out, agent.Status{Host: wire.HostRef{Namespace: "shop", Name: "web-1"}, Running: true, Connected: true, Since: at, AppliedRevision: "r1",
		NotAllowed: []wire.NotAllowed{{What: "hooks", Message: "its owner can allow the host's"}, {SourceGroup: "db", What: "commands", Message: "its owner can allow the dump"}},
		Results: map[string]agent.Ended{
			"Backup etc":       {Outcome: wire.OutcomeSucceeded, FinishedAt: at, SnapshotID: "0123456789abcdef"},
			"Forget":           {Outcome: wire.OutcomeSucceeded, FinishedAt: at, Did: "removed 2 snapshots, kept 1"},
			"Check for db-1":   {Outcome: wire.OutcomeFailed, FinishedAt: at, Did: "3 errors", Message: "pack 1234 is damaged"},
			"Restore etc-home": {Outcome: wire.OutcomeCancelled, FinishedAt: at, Message: "The job was cancelled."},
		}})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`(?m)^Not allowed: +hooks of every source group: its owner can allow the host's$`,
		`(?m)^Not allowed: +commands of source group db: its owner can allow the dump$`,
		`(?m)^Backup etc +\S+ \S+ +Succeeded +01234567 *$`,
		`(?m)^Forget +\S+ \S+ +Succeeded +removed 2 snapshots, kept 1$`,
		`(?m)^Check for db-1 +\S+ \S+ +Failed +3 errors; pack 1234 is damaged$`,
		`(?m)^Restore etc-home .* The job was cancelled\.$`,
	} {
		if !regexp.MustCompile(want).MatchString(out.String()) {
			t.Errorf("the status does not match %s:\n%s", want, &out)
		}
	}
}

func TestTheStatusTellsThatTheHostWasRemoved(t *testing.T) {
	at := time.Date(2026, 3, 1, 2, 30, 0, 0, time.UTC)
	for name, tt := range map[string]struct {
		kept bool
		says string
	}{
		"credentials are gone":              {false, `(?m)^ +the credentials of its repository were deleted here$`},
		"the only copy of a password stays": {true, `(?m)^ +what opens its repository is kept for .restic-manager-agent export-credentials.`},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			status := agent.Status{Host: wire.HostRef{Namespace: "shop", Name: "web-1"}, Running: true, Since: at, AppliedRevision: "t1", RemovedAt: at, CredentialsKept: tt.kept}
			if err := printStatus(&out, status); err != nil {
				t.Fatal(err)
			}
			for _, want := range []string{`(?m)^Removed: +the Host was removed in the cluster at \S+ \S+: no backups run here; its snapshots stay$`, `(?m)^Schedule set: +tombstone t1 in force$`, tt.says} {
				if !regexp.MustCompile(want).MatchString(out.String()) {
					t.Errorf("the status does not match %s:\n%s", want, &out)
				}
			}
		})
	}
}
