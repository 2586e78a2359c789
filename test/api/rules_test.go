package api

import (
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func TestGoodObjectsAreAccepted(t *testing.T) {
	cp := installed(t)
	c, namespace := admin(t, cp), cp.NewNamespace(t, "good")
	for name, o := range map[string]client.Object{
		"a Host":                                    object(t, namespace, host),
		"a Host whose identity is given":            object(t, namespace, host, identity(identityA)),
		"a repository in a bucket":                  object(t, namespace, host, fields{"spec.repository.url": "s3:https://s3.example.com/bucket/path@2"}),
		"a SourceGroup":                             object(t, namespace, sourceGroup),
		"a SourceGroup for every host":              object(t, namespace, sourceGroup, fields{"spec.hostRef": nil, "spec.hostSelector": map[string]any{}}),
		"a Schedule":                                object(t, namespace, schedule),
		"a Schedule with the longest jitter":        object(t, namespace, schedule, fields{"spec.jitter": "24h"}),
		"a RepoMaintenance":                         object(t, namespace, repoMaintenance),
		"a RepoMaintenance without a bound":         object(t, namespace, repoMaintenance, fields{"spec.prune.maxUnused": "unlimited"}),
		"a Backup":                                  object(t, namespace, backupJob),
		"an Init":                                   object(t, namespace, initJob),
		"a Restore of the latest snapshot":          object(t, namespace, restoreJob),
		"a Restore of a snapshot without its group": object(t, namespace, restoreJob, fields{"spec.restore": map[string]any{"snapshot": "0123abcd"}}),
		"a ScheduleSet":                             object(t, namespace, scheduleSet),
	} {
		if err := c.Create(t.Context(), o, client.DryRunAll); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestBadObjectsAreRefusedWithAMessageThatNamesTheFieldAndTheRemedy(t *testing.T) {
	cp := installed(t)
	c, namespace := admin(t, cp), cp.NewNamespace(t, "bad")
	list := func(entry string, n int) []string { return strings.Split(strings.Repeat(entry+"\n", n-1)+entry, "\n") }
	for _, test := range []struct {
		name   string
		base   string
		change fields
		want   []string // parts of the message
	}{
		{"a Host without a repository", host, fields{"spec.repository": nil}, []string{"spec.repository", "Required"}},
		{"a Host without a URL", host, fields{"spec.repository.url": ""}, []string{"spec.repository.url", "at least 1"}},
		{"a Host without credentials", host, fields{"spec.repository.credentialsSecretRef": nil}, []string{"spec.repository.credentialsSecretRef", "Required"}},
		{"a password in the URL", host, fields{"spec.repository.url": "rest:https://user:hunter2@backup.example.com/web-1"},
			[]string{"spec.repository", "no user or password inside url", "credentials Secret"}},
		{"a user in the URL", host, fields{"spec.repository.url": "sftp://user@backup.example.com//srv"}, []string{"no user or password inside url"}},
		{"a cap of nothing", host, fields{"spec.bandwidth": map[string]any{"uploadKBps": -1}}, []string{"spec.bandwidth.uploadKBps", "greater than or equal to 1"}},
		{"a signing key that is none", host, identity("no key"), []string{"spec.identity.signingKey", "should match"}},
		{"an identity of one key", host, fields{"spec.identity": map[string]any{"signingKey": identityA}}, []string{"spec.identity.sealingKey", "Required"}},

		{"a SourceGroup for both a host and a selector", sourceGroup, fields{"spec.hostSelector": map[string]any{}}, []string{"exactly one of hostRef and hostSelector"}},
		{"a SourceGroup for nobody", sourceGroup, fields{"spec.hostRef": nil}, []string{"exactly one of hostRef and hostSelector"}},
		{"a SourceGroup for a host without a name", sourceGroup, fields{"spec.hostRef.name": ""}, []string{"spec.hostRef.name"}},
		{"empty includes", sourceGroup, fields{"spec.includes": []string{}}, []string{"spec.includes", "at least 1"}},
		{"no includes", sourceGroup, fields{"spec.includes": nil}, []string{"spec.includes", "Required"}},
		{"an include without a name", sourceGroup, fields{"spec.includes": []string{""}}, []string{"spec.includes[0]"}},
		{"a relative include", sourceGroup, fields{"spec.includes": []string{"/etc", "home"}}, []string{"spec.includes", "absolute path"}},
		{"201 includes", sourceGroup, fields{"spec.includes": list("/x", 201)}, []string{"spec.includes", "at most 200"}},
		{"201 excludes", sourceGroup, fields{"spec.excludes": list("x", 201)}, []string{"spec.excludes", "at most 200"}},
		{"a comma in the tag", sourceGroup, fields{"spec.tag": "a,b"}, []string{"spec.tag", "should match"}},
		{"a blank in the tag", sourceGroup, fields{"spec.tag": "a b"}, []string{"spec.tag", "should match"}},
		{"a size that is none", sourceGroup, fields{"spec.excludeLargerThan": "2 GB"}, []string{"spec.excludeLargerThan", "should match"}},
		{"a retention that keeps nothing", sourceGroup, fields{"spec.retention": map[string]any{}}, []string{"spec.retention", "at least 1"}},
		{"a retention of zero", sourceGroup, fields{"spec.retention": map[string]any{"keepDaily": 0}}, []string{"spec.retention.keepDaily", "greater than or equal to 1"}},
		{"a retention in a unit that restic does not know", sourceGroup, fields{"spec.retention": map[string]any{"keepWithin": "2w"}}, []string{"spec.retention.keepWithin", "should match"}},

		{"a Schedule without cron", schedule, fields{"spec.cron": nil}, []string{"spec.cron", "Required"}},
		{"a Schedule with an empty cron", schedule, fields{"spec.cron": ""}, []string{"spec.cron", "at least 1"}},
		{"a Schedule without groups", schedule, fields{"spec.sourceGroups": nil}, []string{"spec.sourceGroups", "Required"}},
		{"a Schedule of no group", schedule, fields{"spec.sourceGroups": []string{}}, []string{"spec.sourceGroups", "at least 1"}},
		{"the same group twice", schedule, fields{"spec.sourceGroups": []string{"etc", "etc"}}, []string{"spec.sourceGroups[1]", "Duplicate"}},
		{"a negative jitter", schedule, fields{"spec.jitter": "-1m"}, []string{"spec.jitter", "between 0s and 24h"}},
		{"a jitter of more than a day", schedule, fields{"spec.jitter": "25h"}, []string{"spec.jitter", "between 0s and 24h"}},
		{"a jitter that is no duration", schedule, fields{"spec.jitter": "soon"}, []string{"spec.jitter"}},
		{"a deadline of seconds", schedule, fields{"spec.startingDeadline": "5s"}, []string{"spec.startingDeadline", "between 1m and 720h"}},
		{"an unknown policy", schedule, fields{"spec.whenDisconnected": "Maybe"}, []string{"spec.whenDisconnected", `"Run", "Wait"`}},

		{"a RepoMaintenance of nothing", repoMaintenance, fields{"spec.prune": nil}, []string{"at least one of forget, prune and check"}},
		{"a RepoMaintenance for nobody", repoMaintenance, fields{"spec.hostRef": nil}, []string{"exactly one of hostRef and hostSelector"}},
		{"a RepoMaintenance for both", repoMaintenance, fields{"spec.hostSelector": map[string]any{}}, []string{"exactly one of hostRef and hostSelector"}},
		{"a prune without cron", repoMaintenance, fields{"spec.prune": map[string]any{"maxUnused": "5%"}}, []string{"spec.prune.cron", "Required"}},
		{"a bound that is none", repoMaintenance, fields{"spec.prune.maxUnused": "much"}, []string{"spec.prune.maxUnused", "should match"}},
		{"a subset that is none", repoMaintenance, fields{"spec.check": map[string]any{"cron": "@daily", "readDataSubset": "some"}}, []string{"spec.check.readDataSubset", "should match"}},

		{"an unknown kind of job", backupJob, fields{"spec.kind": "Destroy"}, []string{"spec.kind", `"Backup", "Restore", "Init"`}},
		{"a Backup of nothing", backupJob, fields{"spec.backup": nil}, []string{"backup is needed for kind Backup"}},
		{"a Backup of a group without a name", backupJob, fields{"spec.backup.sourceGroup": ""}, []string{"spec.backup.sourceGroup"}},
		{"an Init with a backup", backupJob, fields{"spec.kind": "Init"}, []string{"backup is needed for kind Backup, and only there"}},
		{"a Restore of nothing", restoreJob, fields{"spec.restore": nil}, []string{"restore is needed for kind Restore"}},
		{"an Init with a restore", restoreJob, fields{"spec.kind": "Init"}, []string{"restore is needed for kind Restore, and only there"}},
		{"the latest snapshot of no group", restoreJob, fields{"spec.restore": map[string]any{"snapshot": "latest"}}, []string{"spec.restore", "snapshot latest needs a sourceGroup"}},
		{"a snapshot id that is too short", restoreJob, fields{"spec.restore.snapshot": "0123abc"}, []string{"spec.restore.snapshot", "should match"}},
		{"a relative target", restoreJob, fields{"spec.restore.target": "srv"}, []string{"spec.restore.target", "should match"}},
		{"includes and excludes in a Restore", restoreJob, fields{"spec.restore.includes": []string{"/etc"}, "spec.restore.excludes": []string{"/etc/ssl"}},
			[]string{"spec.restore", "includes and excludes exclude each other"}},
		{"an unknown overwrite policy", restoreJob, fields{"spec.restore.overwrite": "Perhaps"}, []string{"spec.restore.overwrite", `"Always", "IfChanged", "IfNewer", "Never"`}},
		{"a job without time to run", backupJob, fields{"spec.activeDeadlineSeconds": 0}, []string{"spec.activeDeadlineSeconds", "greater than or equal to 1"}},
		{"a job without time to start", backupJob, fields{"spec.startingDeadlineSeconds": 1}, []string{"spec.startingDeadlineSeconds", "greater than or equal to 10"}},
		{"a job that is deleted before its end", backupJob, fields{"spec.ttlSecondsAfterFinished": -1}, []string{"spec.ttlSecondsAfterFinished", "greater than or equal to 0"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			expectRefused(t, c.Create(t.Context(), object(t, namespace, test.base, test.change), client.DryRunAll), test.want...)
		})
	}
}

func expectRefused(t *testing.T, err error, want ...string) {
	t.Helper()
	if !apierrors.IsInvalid(err) {
		t.Fatalf("got %v, expected that the API server refuses it as invalid", err)
	}
	for _, part := range want {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the message does not hold %q: %v", part, err)
		}
	}
}

func TestAHostJobCanOnlyBeCancelled(t *testing.T) {
	cp := installed(t)
	c, namespace := admin(t, cp), cp.NewNamespace(t, "immutable")
	job := object(t, namespace, restoreJob, fields{"spec.restore.includes": []string{"/etc"}})
	if err := c.Create(t.Context(), job); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]fields{
		"its host":              {"spec.hostRef.name": "web-2"},
		"its kind":              {"spec.kind": "Init", "spec.restore": nil},
		"its snapshot":          {"spec.restore.snapshot": "0123abcd"},
		"its target":            {"spec.restore.target": "/"},
		"its includes":          {"spec.restore.includes": []string{"/"}},
		"its run deadline":      {"spec.activeDeadlineSeconds": 1},
		"its starting deadline": {"spec.startingDeadlineSeconds": 604800},
	} {
		changed := job.DeepCopy()
		for path, value := range change {
			set(t, changed, path, value)
		}
		t.Run("a change of "+name+" is refused", func(t *testing.T) {
			expectRefused(t, c.Update(t.Context(), changed), "cannot be changed, only cancelled")
		})
	}
	set(t, job, "spec.ttlSecondsAfterFinished", 60)
	if err := c.Update(t.Context(), job); err != nil {
		t.Errorf("a change of how long it is kept: %v", err)
	}
	set(t, job, "spec.cancel", true)
	if err := c.Update(t.Context(), job); err != nil {
		t.Fatalf("cancelling: %v", err)
	}
	set(t, job, "spec.cancel", false)
	expectRefused(t, c.Update(t.Context(), job), "a cancellation cannot be taken back")
}
