package wire_test

import (
	"strings"
	"testing"
	"time"

	"github.com/restic-manager/restic-manager/api/wire"
)

func TestMaintenanceCommandsThatAreNotValid(t *testing.T) {
	forget := func(sentence string, damage func(*wire.JobCommand), want string) broken {
		return changed(sentence, sampleMaintenance(wire.JobForget), damage, want)
	}
	group := func(sentence string, damage func(*wire.ForgetGroup), want string) broken {
		return forget(sentence, func(c *wire.JobCommand) { damage(&c.Forget.Groups[0]) }, "forget: groups[0]"+want)
	}
	of := func(kind wire.JobKind, sentence string, damage func(*wire.JobCommand), want string) broken {
		return changed(sentence, sampleMaintenance(kind), damage, want)
	}
	checkBroken(t, []broken{
		forget("a forget that says nothing of what", func(c *wire.JobCommand) { c.Forget = nil }, "forget belongs to kind Forget"),
		forget("a forget of no group", func(c *wire.JobCommand) { c.Forget.Groups = nil }, "forget: groups are missing"),
		forget("a forget of very many groups", func(c *wire.JobCommand) { c.Forget.Groups = make([]wire.ForgetGroup, wire.MaxForgets+1) }, "groups has 1001 entries"),
		forget("a forget that also prunes", func(c *wire.JobCommand) { c.Prune = &wire.Prune{} }, "prune belongs to kind Prune"),
		forget("a forget with hooks", func(c *wire.JobCommand) { c.Hooks = sampleHooks() }, "hooks belong to kind Backup"),
		forget("a command with many credentials", func(c *wire.JobCommand) { c.Credentials = make([]wire.CredentialHash, wire.MaxCredentials+1) }, "credentials has 17 entries"),
		forget("a command with a nameless credential", func(c *wire.JobCommand) { c.Credentials[0].Name = "" }, "credentials.name is missing"),
		forget("a command with half a hash", func(c *wire.JobCommand) { c.Credentials[0].SHA256 = "abc" }, "not a SHA-256"),
		forget("a command for a target with a long name", func(c *wire.JobCommand) { c.TargetHost = long(254) }, "targetHost is longer"),
		forget("a repository known by a long URL", func(c *wire.JobCommand) { c.Repository.SameAs = long(wire.MaxString + 1) }, "repository.sameAs is longer"),
		group("a forget without a policy", func(g *wire.ForgetGroup) { g.Retention = wire.Retention{} }, ".retention: no rule: at least one keep rule is needed"),
		group("a forget whose only rule keeps no tag", func(g *wire.ForgetGroup) { g.Retention = wire.Retention{KeepTags: []string{}} }, ".retention: no rule"),
		group("a forget that keeps less than nothing", func(g *wire.ForgetGroup) { g.Retention = wire.Retention{KeepDaily: -1} }, ".retention: keepDaily is negative"),
		group("a forget by a duration that restic does not know", func(g *wire.ForgetGroup) { g.Retention.KeepWithinDaily = "2w" }, `.retention: keepWithinDaily "2w" is no duration`),
		group("a forget by an option in a duration's place", func(g *wire.ForgetGroup) { g.Retention.KeepWithin = "14d --prune" }, `.retention: keepWithin "14d --prune" is no duration`),
		group("a forget by a very long duration", func(g *wire.ForgetGroup) { g.Retention.KeepWithin = strings.Repeat("1d", 20) }, ".retention: keepWithin"),
		group("a forget that keeps two tags in one word", func(g *wire.ForgetGroup) { g.Retention.KeepTags = []string{"a,b"} }, `.retention: keepTags "a,b" holds a comma`),
		group("a forget that keeps many tags", func(g *wire.ForgetGroup) { g.Retention.KeepTags = make([]string, wire.MaxListed+1) }, ".retention: keepTags has 21 entries"),
		group("a forget of all hosts", func(g *wire.ForgetGroup) { g.ResticHost = "" }, ".resticHost is missing"),
		group("a forget of what has no tag", func(g *wire.ForgetGroup) { g.Tag = "" }, ".tag is missing"),
		group("a forget of two tags", func(g *wire.ForgetGroup) { g.Tag = "a,b" }, `.tag "a,b" holds a comma`),
		group("a forget of a nameless group", func(g *wire.ForgetGroup) { g.Name = "" }, ".name is missing"),
		group("a forget of nobody's group", func(g *wire.ForgetGroup) { g.Host = "" }, ".host is missing"),

		of(wire.JobPrune, "a prune without options", func(c *wire.JobCommand) { c.Prune = nil }, "prune belongs to kind Prune"),
		of(wire.JobPrune, "a prune that leaves much", func(c *wire.JobCommand) { c.Prune.MaxUnused = "much" }, `prune: maxUnused "much" is neither`),
		of(wire.JobPrune, "a prune with an option in a size's place", func(c *wire.JobCommand) { c.Prune.MaxUnused = "--force" }, `maxUnused "--force"`),
		of(wire.JobPrune, "a prune that repacks a share", func(c *wire.JobCommand) { c.Prune.MaxRepackSize = "5%" }, `prune: maxRepackSize "5%" is not a size`),
		of(wire.JobCheck, "a check without options", func(c *wire.JobCommand) { c.Check = nil }, "check belongs to kind Check"),
		of(wire.JobCheck, "a check of half", func(c *wire.JobCommand) { c.Check.ReadDataSubset = "half" }, `check: readDataSubset "half" is neither`),
		of(wire.JobCheck, "a check of a bare number", func(c *wire.JobCommand) { c.Check.ReadDataSubset = "5" }, `readDataSubset "5" is neither`),
		of(wire.JobUnlock, "an unlock that checks", func(c *wire.JobCommand) { c.Check = &wire.Check{} }, "check belongs to kind Check"),
		of(wire.JobVerify, "a drill of nothing", func(c *wire.JobCommand) { c.Verify.Groups = nil }, "verify: groups are missing"),
		of(wire.JobVerify, "a drill without a sample", func(c *wire.JobCommand) { c.Verify.Sample = 0 }, "verify: sample is 0, want 1 to 10000"),
		of(wire.JobVerify, "a drill of everything", func(c *wire.JobCommand) { c.Verify.Sample = wire.MaxSample + 1 }, "sample is 10001"),
		of(wire.JobVerify, "a drill of two tags", func(c *wire.JobCommand) { c.Verify.Groups[0].Tag = "a,b" }, "verify: groups[0].tag"),
		of(wire.JobVerify, "a drill of any host", func(c *wire.JobCommand) { c.Verify.Groups[0].ResticHost = "" }, "verify: groups[0].resticHost is missing"),
	})
}

func TestWhatRetentionAndOptionsMaySay(t *testing.T) {
	for _, v := range []interface{ Validate() error }{
		&wire.Retention{KeepLast: 1}, &wire.Retention{KeepWithin: "1y6m14d12h"}, &wire.Retention{KeepWithinHourly: "48h"}, &wire.Retention{KeepTags: []string{"keep"}},
		&wire.Prune{}, &wire.Prune{MaxUnused: "unlimited"}, &wire.Prune{MaxUnused: "0.5%"}, &wire.Prune{MaxUnused: "10M", MaxRepackSize: "1G"},
		&wire.Check{}, &wire.Check{ReadDataSubset: "0.5%"}, &wire.Check{ReadDataSubset: "50M"}, &wire.Check{ReadDataSubset: "12/12"},
	} {
		if err := v.Validate(); err != nil {
			t.Errorf("%+v: %v", v, err)
		}
	}
}

func TestHooksAndDumpsThatAreNotValid(t *testing.T) {
	set := func(sentence string, damage func(*wire.ScheduleSet), want string) broken {
		return changed(sentence, sampleRichSet(), damage, want)
	}
	dump := func(sentence string, damage func(*wire.SourceGroup), want string) broken {
		return changed(sentence, sampleDumpCommand(), func(c *wire.JobCommand) { damage(c.Backup) }, want)
	}
	checkBroken(t, []broken{
		set("a set with a hook of no words", func(s *wire.ScheduleSet) { s.Hooks.PreBackup[0].Command = nil }, "hooks: preBackup[0].command is missing"),
		set("a hook that PATH is to find", func(s *wire.ScheduleSet) { s.Hooks.PreBackup[0].Command[0] = "freeze" }, `"freeze" is not an absolute path`),
		set("a hook of many words", func(s *wire.ScheduleSet) {
			s.Hooks.PreBackup[0].Command = strings.Split(strings.Repeat("/x ", wire.MaxArgs), " ")
		}, "command has 101 entries"),
		set("a hook with a NUL byte", func(s *wire.ScheduleSet) { s.Hooks.OnFailure[0].Command = []string{"/x", "a\x00b"} }, "onFailure[0].command holds a NUL byte"),
		set("a hook without a timeout", func(s *wire.ScheduleSet) { s.Hooks.PostBackup[0].TimeoutSeconds = 0 }, "postBackup[0].timeoutSeconds is 0"),
		set("a hook of two days", func(s *wire.ScheduleSet) { s.Hooks.PostBackup[0].TimeoutSeconds = 172800 }, "postBackup[0].timeoutSeconds is 172800"),
		set("a hook whose failure means nothing known", func(s *wire.ScheduleSet) { s.Hooks.PreBackup[0].OnError = "Ignore" }, `preBackup[0].onError is "Ignore"`),
		set("many hooks", func(s *wire.ScheduleSet) { s.Hooks.PreBackup = make([]wire.Hook, wire.MaxHooks+1) }, "preBackup has 9 entries"),
		set("a group with a broken hook", func(s *wire.ScheduleSet) { s.Groups[1].Hooks.PreBackup[0].Command = nil }, "groups[1]: hooks: preBackup[0].command is missing"),
		set("a set with negative caps", func(s *wire.ScheduleSet) { s.Bandwidth.UploadKBps = -1 }, "bandwidth: a cap is negative"),
		set("a set with many windows", func(s *wire.ScheduleSet) { s.Bandwidth.Windows = make([]wire.BandwidthWindow, wire.MaxWindows+1) }, "bandwidth: windows has 25 entries"),
		set("a window from nowhere", func(s *wire.ScheduleSet) { s.Bandwidth.Windows[0].From = "8:00" }, `windows[0].from: "8:00" is not a time of day`),
		set("a window to 25 o'clock", func(s *wire.ScheduleSet) { s.Bandwidth.Windows[0].To = "25:00" }, `windows[0].to: "25:00" is not a time of day`),
		set("a window of no minute", func(s *wire.ScheduleSet) { s.Bandwidth.Windows[0].To = "08:00" }, "windows[0]: from and to are equal"),
		set("a window with a negative cap", func(s *wire.ScheduleSet) { s.Bandwidth.Windows[1].DownloadKBps = -1 }, "windows[1]: a cap is negative"),
		set("a group with a broken window", func(s *wire.ScheduleSet) { s.Groups[1].Bandwidth.UploadKBps = -1 }, "groups[1]: bandwidth: a cap is negative"),

		dump("a group of files and a command", func(g *wire.SourceGroup) { g.Includes = []string{"/etc"} }, "backup: exactly one of includes and command is needed"),
		dump("a dump without a file name", func(g *wire.SourceGroup) { g.FileName = "" }, "backup: fileName is missing"),
		dump("a dump into a folder", func(g *wire.SourceGroup) { g.FileName = "../etc/passwd" }, `fileName "../etc/passwd" is not a plain file name`),
		dump("a dump by what PATH finds", func(g *wire.SourceGroup) { g.Command[0] = "pg_dump" }, `command: "pg_dump" is not an absolute path`),
		dump("a dump with a long word", func(g *wire.SourceGroup) { g.Command[1] = long(wire.MaxString + 1) }, "command[1] is longer than 4096 bytes"),
	})
}

func TestResultsOfMaintenanceThatAreNotValid(t *testing.T) {
	result := func(kind wire.JobKind, sentence string, damage func(*wire.JobFinished), want string) broken {
		return changed(sentence, finished(kind), damage, want)
	}
	stats := func(sentence string, damage func(*wire.RepositoryStats), want string) broken {
		return breaking(t, sentence, func(m *wire.RepoStats) { damage(&m.Stats) }, "stats: "+want)
	}
	checkBroken(t, []broken{
		result(wire.JobForget, "a forget with many groups", func(m *wire.JobFinished) { m.Forget.Groups = make([]wire.ForgetGroupResult, wire.MaxForgetResults+1) }, "forget.groups has 101 entries"),
		result(wire.JobForget, "a forget of a nameless group", func(m *wire.JobFinished) { m.Forget.Groups[0].Name = "" }, "forget.groups[0].name is missing"),
		result(wire.JobForget, "a forget of nobody's group", func(m *wire.JobFinished) { m.Forget.Groups[1].Host = "" }, "forget.groups[1].host is missing"),
		result(wire.JobForget, "a forget with a long error", func(m *wire.JobFinished) { m.Forget.Groups[0].Error = long(wire.MaxString + 1) }, "forget.groups[0].error is longer"),
		result(wire.JobCheck, "a check with many problems", func(m *wire.JobFinished) { m.Check.Problems = make([]string, wire.MaxListed+1) }, "check.problems has 21 entries"),
		result(wire.JobCheck, "a check of a long part", func(m *wire.JobFinished) { m.Check.ReadDataSubset = long(254) }, "check.readDataSubset is longer"),
		result(wire.JobVerify, "a drill of many groups", func(m *wire.JobFinished) { m.Verify.Groups = make([]wire.VerifyGroupResult, wire.MaxGroups+1) }, "verify.groups has 101 entries"),
		result(wire.JobVerify, "a drill of a nameless group", func(m *wire.JobFinished) { m.Verify.Groups[0].Name = "" }, "verify.groups[0].name is missing"),
		result(wire.JobVerify, "a drill that lists many files", func(m *wire.JobFinished) { m.Verify.FailedPaths = make([]string, wire.MaxListed+1) }, "verify.failedPaths has 21 entries"),
		result(wire.JobUnlock, "an unlock that made locks", func(m *wire.JobFinished) { m.LocksRemoved = -1 }, "a count is negative"),
		result(wire.JobUnlock, "a job that was tried less than never", func(m *wire.JobFinished) { m.Attempts = -1 }, "a count is negative"),
		result(wire.JobUnlock, "a job for a target with a long name", func(m *wire.JobFinished) { m.Job.TargetHost = long(254) }, "targetHost is longer"),
		result(wire.JobVerify, "a result with broken stats", func(m *wire.JobFinished) { m.Stats.Snapshots = -1 }, "stats: a count is negative"),
		result(wire.JobUnlock, "a result with many failed hooks", func(m *wire.JobFinished) { m.HookFailures = make([]string, wire.MaxListed+1) }, "hookFailures has 21 entries"),
		stats("stats of no time", func(s *wire.RepositoryStats) { s.Time = time.Time{} }, "time is missing"),
		stats("stats of many groups", func(s *wire.RepositoryStats) { s.Groups = make([]wire.GroupStats, wire.MaxGroups+1) }, "groups has 101 entries"),
		stats("stats of a nameless group", func(s *wire.RepositoryStats) { s.Groups[0].Name = "" }, "groups[0].name is missing"),
		stats("stats of less than no bytes", func(s *wire.RepositoryStats) { s.Groups[0].RestoreBytes = -1 }, "groups[0]: a count is negative"),
		breaking(t, "stats without a number", func(m *wire.RepoStats) { m.Report.Seq = 0 }, "report.seq is missing"),
		breaking(t, "stats of a repository with a long URL", func(m *wire.RepoStats) { m.URL = long(wire.MaxString + 1) }, "url is longer"),
		breaking(t, "a consent that nobody asked for", func(m *wire.SetAck) { m.NotAllowed = make([]wire.NotAllowed, wire.MaxListed+1) }, "notAllowed has 21 entries"),
		breaking(t, "a consent for nothing", func(m *wire.SetAck) { m.NotAllowed = []wire.NotAllowed{{}} }, "notAllowed.what is missing"),
		breaking(t, "a consent with a long message", func(m *wire.SetAck) {
			m.NotAllowed = []wire.NotAllowed{{What: "hooks", Message: long(wire.MaxString + 1)}}
		}, "notAllowed.message is longer"),
		breaking(t, "a command with a large credential", func(m *wire.CommandRun) {
			m.Credentials = []wire.SealedCredential{{Name: wire.CredentialAdmin, Sealed: make([]byte, wire.MaxSealed+1)}}
		}, "credentials.sealed has 65537 bytes"),
	})
}

func TestEveryKindOfJobNeedsItsOwnPartAlone(t *testing.T) {
	samples := map[wire.JobKind]*wire.JobCommand{wire.JobBackup: sampleBackupCommand(), wire.JobRestore: sampleCommand()}
	for _, kind := range wire.JobKinds() {
		if samples[kind] == nil {
			samples[kind] = sampleMaintenance(kind)
		}
		if err := samples[kind].Validate(); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		for _, other := range wire.JobKinds() {
			command := *samples[kind]
			command.Kind = other
			hasPart := func(k wire.JobKind) bool { return k != wire.JobInit && k != wire.JobUnlock }
			if wrong := kind != other && (hasPart(kind) || hasPart(other)); wrong != (command.Validate() != nil) {
				t.Errorf("a command of kind %s with what belongs to %s: %v", other, kind, command.Validate())
			}
		}
	}
}

func TestHooksThatAreThere(t *testing.T) {
	var none *wire.Hooks
	for i, c := range []struct {
		hooks *wire.Hooks
		any   bool
	}{{none, false}, {&wire.Hooks{}, false}, {sampleHooks(), true}, {&wire.Hooks{OnFailure: make([]wire.Hook, 1)}, true}} {
		if c.hooks.Any() != c.any {
			t.Errorf("hooks %d: Any is %v", i, !c.any)
		}
	}
}
