package api

import (
	"slices"
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
		"a Host whose password is to be made":       object(t, namespace, host, fields{"spec.repository.credentialsSecretRef": nil}),
		"a Host with admin credentials":             object(t, namespace, host, fields{"spec.repository.adminCredentialsSecretRef": map[string]any{"name": "admin"}}),
		"hooks of a Host":                           object(t, namespace, host, fields{"spec.hooks": hooks(fields{"timeout": "24h", "onError": "Continue"})}),
		"hooks of a SourceGroup":                    object(t, namespace, sourceGroup, fields{"spec.hooks": hooks()}),
		"the output of a command":                   object(t, namespace, dumpGroup),
		"caps by the time of day": object(t, namespace, host, fields{"spec.bandwidth": map[string]any{"timeZone": "Europe/Zurich", "windows": []any{
			map[string]any{"from": "08:00", "to": "18:00", "uploadKBps": 1024}, map[string]any{"from": "22:00", "to": "06:00"}, map[string]any{"from": "00:00", "to": "24:00"}}}}),
		"a retention of every kind": object(t, namespace, sourceGroup, fields{"spec.retention": map[string]any{
			"keepLast": 1, "keepHourly": 1, "keepDaily": 1, "keepWeekly": 1, "keepMonthly": 1, "keepYearly": 1, "keepWithin": "1y6m14d3h", "keepWithinHourly": "2d",
			"keepWithinDaily": "7d", "keepWithinWeekly": "1m", "keepWithinMonthly": "1y", "keepWithinYearly": "75y", "keepTags": []string{"release", "legal-hold"}}}),
		"a retention by tag alone":       object(t, namespace, sourceGroup, fields{"spec.retention": map[string]any{"keepTags": []string{"keep"}}}),
		"a RepoMaintenance of all kinds": object(t, namespace, repoMaintenance, fields{"spec.forget": map[string]any{"cron": "@daily"}, "spec.check": map[string]any{"cron": "@weekly", "readDataRotation": 256}, "spec.verify": map[string]any{"cron": "@weekly", "sample": 10000}, "spec.jitter": "24h", "spec.executorRef": map[string]any{"name": "vault"}}),
		"a RepoMaintenance of a drill":   object(t, namespace, repoMaintenance, fields{"spec.prune": nil, "spec.verify": map[string]any{"cron": "@weekly"}}),
		"a check of a size":              object(t, namespace, repoMaintenance, fields{"spec.check": map[string]any{"cron": "@weekly", "readDataSubset": "50M"}}),
		"a check of a part":              object(t, namespace, repoMaintenance, fields{"spec.check": map[string]any{"cron": "@weekly", "readDataSubset": "3/12"}}),
		"a check of half a percent":      object(t, namespace, checkJob, fields{"spec.check.readDataSubset": "0.5%"}),
		"a Forget on the executor":       object(t, namespace, forgetJob),
		"a Forget of all groups":         object(t, namespace, forgetJob, fields{"spec.forget": nil, "spec.targetRef": nil}),
		"a Prune":                        object(t, namespace, pruneJob),
		"a Prune with defaults":          object(t, namespace, pruneJob, fields{"spec.prune": nil}),
		"a Check":                        object(t, namespace, checkJob),
		"a Check of the structure":       object(t, namespace, checkJob, fields{"spec.check": nil}),
		"an Unlock":                      object(t, namespace, unlockJob),
		"an Unlock for another Host":     object(t, namespace, unlockJob, fields{"spec.targetRef": map[string]any{"name": "web-2"}}),
		"a Verify":                       object(t, namespace, verifyJob),
		"a Verify of all groups":         object(t, namespace, verifyJob, fields{"spec.verify": nil}),
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
		{"a Host whose credentials have no name", host, fields{"spec.repository.credentialsSecretRef": map[string]any{"name": ""}}, []string{"spec.repository.credentialsSecretRef.name", "at least 1"}},
		{"admin credentials without a name", host, fields{"spec.repository.adminCredentialsSecretRef": map[string]any{"name": ""}}, []string{"spec.repository.adminCredentialsSecretRef.name", "at least 1"}},
		{"a password in the URL", host, fields{"spec.repository.url": "rest:https://user:hunter2@backup.example.com/web-1"},
			[]string{"spec.repository", "no user or password inside url", "credentials Secret"}},
		{"a user in the URL", host, fields{"spec.repository.url": "sftp://user@backup.example.com//srv"}, []string{"no user or password inside url"}},
		{"a cap of nothing", host, fields{"spec.bandwidth": map[string]any{"uploadKBps": -1}}, []string{"spec.bandwidth.uploadKBps", "greater than or equal to 1"}},
		{"a window without an end", host, window(fields{"to": nil}), []string{"spec.bandwidth.windows[0].to", "Required"}},
		{"a window that begins at no time", host, window(fields{"from": "25:00"}), []string{"spec.bandwidth.windows[0].from", "should match"}},
		{"a window that begins at midnight's end", host, window(fields{"from": "24:00"}), []string{"spec.bandwidth.windows[0].from", "should match"}},
		{"a window that ends at no time", host, window(fields{"to": "8am"}), []string{"spec.bandwidth.windows[0].to", "should match"}},
		{"a window of no length", host, window(fields{"to": "08:00"}), []string{"spec.bandwidth.windows[0]", "write 00:00 to 24:00 for the whole day"}},
		{"a cap of nothing in a window", host, window(fields{"uploadKBps": -1}), []string{"spec.bandwidth.windows[0].uploadKBps", "greater than or equal to 1"}},
		{"25 windows", host, fields{"spec.bandwidth": map[string]any{"windows": slices.Repeat([]any{map[string]any{"from": "08:00", "to": "18:00"}}, 25)}},
			[]string{"spec.bandwidth.windows", "at most 24"}},
		{"a hook of no command", host, fields{"spec.hooks": hooks(fields{"command": []string{}})}, []string{"spec.hooks.preBackup[0].command", "at least 1"}},
		{"a hook that PATH would have to find", host, fields{"spec.hooks": hooks(fields{"command": []string{"freeze"}})},
			[]string{"spec.hooks.preBackup[0].command", "the first word must be an absolute path: there is no shell and no PATH"}},
		{"a hook that may take no time", host, fields{"spec.hooks": hooks(fields{"timeout": "0s"})}, []string{"spec.hooks.preBackup[0].timeout", "between 1s and 24h"}},
		{"a hook that may take days", sourceGroup, fields{"spec.hooks": hooks(fields{"timeout": "25h"})}, []string{"spec.hooks.preBackup[0].timeout", "between 1s and 24h"}},
		{"a hook whose failure means nothing known", host, fields{"spec.hooks": hooks(fields{"onError": "Ignore"})}, []string{"spec.hooks.preBackup[0].onError", `"Fail", "Continue"`}},
		{"nine hooks at one place", host, fields{"spec.hooks": map[string]any{"postBackup": slices.Repeat([]any{map[string]any{"command": []string{"/bin/true"}}}, 9)}},
			[]string{"spec.hooks.postBackup", "at most 8"}},
		{"a signing key that is none", host, identity("no key"), []string{"spec.identity.signingKey", "should match"}},
		{"an identity of one key", host, fields{"spec.identity": map[string]any{"signingKey": identityA}}, []string{"spec.identity.sealingKey", "Required"}},

		{"a SourceGroup for both a host and a selector", sourceGroup, fields{"spec.hostSelector": map[string]any{}}, []string{"exactly one of hostRef and hostSelector"}},
		{"a SourceGroup for nobody", sourceGroup, fields{"spec.hostRef": nil}, []string{"exactly one of hostRef and hostSelector"}},
		{"a SourceGroup for a host without a name", sourceGroup, fields{"spec.hostRef.name": ""}, []string{"spec.hostRef.name"}},
		{"empty includes", sourceGroup, fields{"spec.includes": []string{}}, []string{"spec.includes", "at least 1"}},
		{"neither files nor a command", sourceGroup, fields{"spec.includes": nil}, []string{"exactly one of includes (files) and command (the output of a command)"}},
		{"files and a command", dumpGroup, fields{"spec.includes": []string{"/etc"}}, []string{"exactly one of includes (files) and command (the output of a command)"}},
		{"a command without a file name", dumpGroup, fields{"spec.fileName": nil}, []string{"fileName belongs to command"}},
		{"a file name without a command", sourceGroup, fields{"spec.fileName": "shop.dump"}, []string{"fileName belongs to command"}},
		{"a file name in a folder", dumpGroup, fields{"spec.fileName": "dumps/shop.dump"}, []string{"spec.fileName", "should match"}},
		{"an empty file name", dumpGroup, fields{"spec.fileName": ""}, []string{"spec.fileName"}},
		{"a command of no word", dumpGroup, fields{"spec.command": []string{}}, []string{"spec.command", "at least 1"}},
		{"a command that PATH would have to find", dumpGroup, fields{"spec.command": []string{"pg_dump"}}, []string{"spec.command", "the first word must be an absolute path"}},
		{"a command of 101 words", dumpGroup, fields{"spec.command": list("/x", 101)}, []string{"spec.command", "at most 100"}},
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

		{"a retention within nothing", sourceGroup, fields{"spec.retention": map[string]any{"keepWithinDaily": ""}}, []string{"spec.retention.keepWithinDaily", "should match"}},
		{"no tags to keep", sourceGroup, fields{"spec.retention": map[string]any{"keepTags": []string{}}}, []string{"spec.retention.keepTags", "at least 1"}},
		{"a tag to keep with a comma", sourceGroup, fields{"spec.retention": map[string]any{"keepTags": []string{"a,b"}}}, []string{"spec.retention.keepTags[0]", "should match"}},
		{"an empty tag to keep", sourceGroup, fields{"spec.retention": map[string]any{"keepTags": []string{""}}}, []string{"spec.retention.keepTags[0]", "should match"}},
		{"the same tag to keep twice", sourceGroup, fields{"spec.retention": map[string]any{"keepTags": []string{"a", "a"}}}, []string{"spec.retention.keepTags[1]", "Duplicate"}},
		{"21 tags to keep", sourceGroup, fields{"spec.retention": map[string]any{"keepTags": list("x", 21)}}, []string{"spec.retention.keepTags", "at most 20"}},

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

		{"a RepoMaintenance of nothing", repoMaintenance, fields{"spec.prune": nil}, []string{"at least one of forget, prune, check and verify"}},
		{"a RepoMaintenance for nobody", repoMaintenance, fields{"spec.hostRef": nil}, []string{"exactly one of hostRef and hostSelector"}},
		{"a RepoMaintenance for both", repoMaintenance, fields{"spec.hostSelector": map[string]any{}}, []string{"exactly one of hostRef and hostSelector"}},
		{"a prune without cron", repoMaintenance, fields{"spec.prune": map[string]any{"maxUnused": "5%"}}, []string{"spec.prune.cron", "Required"}},
		{"a bound that is none", repoMaintenance, fields{"spec.prune.maxUnused": "much"}, []string{"spec.prune.maxUnused", "should match"}},
		{"a subset that is none", repoMaintenance, fields{"spec.check": map[string]any{"cron": "@daily", "readDataSubset": "some"}}, []string{"spec.check.readDataSubset", "should match"}},

		{"a forget without cron", repoMaintenance, fields{"spec.forget": map[string]any{"suspend": true}}, []string{"spec.forget.cron", "Required"}},
		{"a subset of no unit", repoMaintenance, fields{"spec.check": map[string]any{"cron": "@daily", "readDataSubset": "50"}}, []string{"spec.check.readDataSubset", "should match"}},
		{"a subset and a rotation", repoMaintenance, fields{"spec.check": map[string]any{"cron": "@daily", "readDataSubset": "5%", "readDataRotation": 12}},
			[]string{"spec.check", "readDataSubset and readDataRotation exclude each other"}},
		{"a rotation of one part", repoMaintenance, fields{"spec.check": map[string]any{"cron": "@daily", "readDataRotation": 1}}, []string{"spec.check.readDataRotation", "greater than or equal to 2"}},
		{"a rotation of 257 parts", repoMaintenance, fields{"spec.check": map[string]any{"cron": "@daily", "readDataRotation": 257}}, []string{"spec.check.readDataRotation", "less than or equal to 256"}},
		{"a drill of no file", repoMaintenance, fields{"spec.verify": map[string]any{"cron": "@daily", "sample": -1}}, []string{"spec.verify.sample", "greater than or equal to 1"}},
		{"a repack bound in percent", repoMaintenance, fields{"spec.prune.maxRepackSize": "5%"}, []string{"spec.prune.maxRepackSize", "should match"}},
		{"maintenance with a negative jitter", repoMaintenance, fields{"spec.jitter": "-1m"}, []string{"spec.jitter", "between 0s and 24h"}},
		{"maintenance with a jitter of more than a day", repoMaintenance, fields{"spec.jitter": "24h1s"}, []string{"spec.jitter", "between 0s and 24h"}},
		{"an executor without a name", repoMaintenance, fields{"spec.executorRef": map[string]any{"name": ""}}, []string{"spec.executorRef.name", "at least 1"}},
		{"jobs that are gone before anybody sees them", repoMaintenance, fields{"spec.successTTLSeconds": 1}, []string{"spec.successTTLSeconds", "greater than or equal to 60"}},

		{"an unknown kind of job", backupJob, fields{"spec.kind": "Destroy"}, []string{"spec.kind", `"Backup", "Restore", "Init", "Forget", "Prune", "Check", "Unlock", "Verify"`}},
		{"a Backup on another Host's repository", backupJob, fields{"spec.targetRef": map[string]any{"name": "web-2"}}, []string{"targetRef is for kinds Forget, Prune, Check and Unlock"}},
		{"a Restore on another Host's repository", restoreJob, fields{"spec.targetRef": map[string]any{"name": "web-2"}}, []string{"targetRef is for kinds"}},
		{"a Verify on another Host's repository", verifyJob, fields{"spec.targetRef": map[string]any{"name": "web-2"}}, []string{"targetRef is for kinds"}},
		{"a target without a name", forgetJob, fields{"spec.targetRef.name": ""}, []string{"spec.targetRef.name", "at least 1"}},
		{"a Check with a forget", checkJob, fields{"spec.forget": map[string]any{"sourceGroup": "etc"}}, []string{"forget belongs to kind Forget"}},
		{"a Check with a prune", checkJob, fields{"spec.prune": map[string]any{"maxUnused": "5%"}}, []string{"prune belongs to kind Prune"}},
		{"a Forget with a check", forgetJob, fields{"spec.check": map[string]any{"readDataSubset": "5%"}}, []string{"check belongs to kind Check"}},
		{"a Forget with a drill", forgetJob, fields{"spec.verify": map[string]any{"sample": 1}}, []string{"verify belongs to kind Verify"}},
		{"a Forget of a group without a name", forgetJob, fields{"spec.forget.sourceGroup": ""}, []string{"spec.forget.sourceGroup"}},
		{"a Verify of a group without a name", verifyJob, fields{"spec.verify.sourceGroup": ""}, []string{"spec.verify.sourceGroup"}},
		{"a Verify of too much", verifyJob, fields{"spec.verify.sample": 10001}, []string{"spec.verify.sample", "less than or equal to 10000"}},
		{"a Check of a subset that is none", checkJob, fields{"spec.check.readDataSubset": "1/x"}, []string{"spec.check.readDataSubset", "should match"}},
		{"a Prune to a bound that is none", pruneJob, fields{"spec.prune.maxUnused": "all"}, []string{"spec.prune.maxUnused", "should match"}},
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

// window caps working hours.
func window(change fields) fields {
	w := map[string]any{"from": "08:00", "to": "18:00", "uploadKBps": 1024}
	for name, value := range change {
		w[name] = value
		if value == nil {
			delete(w, name)
		}
	}
	return fields{"spec.bandwidth": map[string]any{"windows": []any{w}}}
}

func TestWhatAJobOfMaintenanceDoesCannotBeChanged(t *testing.T) {
	cp := installed(t)
	c, namespace := admin(t, cp), cp.NewNamespace(t, "immutable")
	for _, test := range []struct {
		name, base string
		change     fields
	}{
		{"the target of a Forget", forgetJob, fields{"spec.targetRef.name": "web-2"}},
		{"away the target of a Forget", forgetJob, fields{"spec.targetRef": nil}},
		{"the group of a Forget", forgetJob, fields{"spec.forget.sourceGroup": "home"}},
		{"a Forget of one group to all", forgetJob, fields{"spec.forget": nil}},
		{"the bound of a Prune", pruneJob, fields{"spec.prune.maxUnused": "unlimited"}},
		{"away the options of a Prune", pruneJob, fields{"spec.prune": nil}},
		{"the subset of a Check", checkJob, fields{"spec.check.readDataSubset": "6%"}},
		{"away the subset of a Check", checkJob, fields{"spec.check": nil}},
		{"the sample of a Verify", verifyJob, fields{"spec.verify.sample": 1}},
		{"the group of a Verify", verifyJob, fields{"spec.verify.sourceGroup": "home"}},
		{"an Unlock to a Prune", unlockJob, fields{"spec.kind": "Prune"}},
		{"an Unlock to one of another Host's repository", unlockJob, fields{"spec.targetRef": map[string]any{"name": "web-2"}}},
	} {
		t.Run("to change "+test.name+" is refused", func(t *testing.T) {
			job := object(t, namespace, test.base)
			if err := c.Create(t.Context(), job); err != nil {
				t.Fatal(err)
			}
			changed := job.DeepCopy()
			for path, value := range test.change {
				set(t, changed, path, value)
			}
			expectRefused(t, c.Update(t.Context(), changed), "cannot be changed, only cancelled")
			set(t, job, "spec.cancel", true)
			if err := c.Update(t.Context(), job); err != nil {
				t.Errorf("cancelling: %v", err)
			}
		})
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
