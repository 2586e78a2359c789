package wire_test

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"testing"
	"time"

	"github.com/restic-manager/restic-manager/api/wire"
)

func sampleHooks() *wire.Hooks {
	hook := func(onError string, words ...string) wire.Hook {
		return wire.Hook{Command: words, TimeoutSeconds: 600, OnError: onError}
	}
	return &wire.Hooks{
		PreBackup:  []wire.Hook{hook(wire.HookOnErrorFail, "/etc/restic-manager/hooks/freeze", "--volume", "data")},
		PostBackup: []wire.Hook{hook(wire.HookOnErrorContinue, "/etc/restic-manager/hooks/thaw")},
		OnFailure:  []wire.Hook{hook(wire.HookOnErrorContinue, "/etc/restic-manager/hooks/page-somebody")},
	}
}

func sampleBandwidth() wire.Bandwidth {
	return wire.Bandwidth{
		UploadKBps: 20480, TimeZone: "Europe/Zurich",
		Windows: []wire.BandwidthWindow{{From: "08:00", To: "18:30", UploadKBps: 2048, DownloadKBps: 4096}, {From: "22:00", To: "24:00"}},
	}
}

// sampleDump is a group that backs up what a command prints.
func sampleDump() wire.SourceGroup {
	return wire.SourceGroup{
		Name: "shop-db", Generation: 1, Tag: "shop-db", Command: []string{"/usr/bin/pg_dump", "-Fc", "shop"}, FileName: "shop.dump",
		Bandwidth: wire.Bandwidth{DownloadKBps: 1024}, Hooks: sampleHooks(),
	}
}

// sampleRichSet uses what sampleSet does without.
func sampleRichSet() *wire.ScheduleSet {
	s := sampleSet()
	s.Serial, s.Revision = s.Serial+1, "c22b5f9178342609"
	s.Bandwidth, s.Hooks = sampleBandwidth(), sampleHooks()
	s.Groups = append(s.Groups, sampleDump())
	s.Schedules[0].Groups = append(s.Schedules[0].Groups, "shop-db")
	return s
}

// sampleMaintenance is the command of a trusted machine that maintains another one's repository, by another way to it.
func sampleMaintenance(kind wire.JobKind) *wire.JobCommand {
	hash := sha256.Sum256(sampleSealed)
	c := sampleCommand()
	c.Host, c.ResticHost, c.Kind, c.Restore = wire.HostRef{Namespace: "shop", Name: "vault"}, "shop/vault", kind, nil
	c.Name, c.TargetHost = "web-1-maintenance", sampleHost.Name
	c.Repository = wire.Repository{URL: "rest:https://backup.example.com:8001/web-1", SameAs: sampleRepository().URL, Credential: wire.CredentialAdmin}
	c.Credentials = []wire.CredentialHash{{Name: wire.CredentialAdmin, SHA256: hex.EncodeToString(hash[:])}}
	switch kind {
	case wire.JobForget:
		c.Forget = &wire.Forget{Groups: []wire.ForgetGroup{{
			Name: "etc-and-home", Host: sampleHost.Name, ResticHost: sampleHost.ResticHost(), Tag: "etc-and-home",
			Retention: wire.Retention{KeepLast: 3, KeepDaily: 7, KeepWeekly: 4, KeepMonthly: 12, KeepWithin: "14d", KeepWithinYearly: "3y6m", KeepTags: []string{"keep"}},
		}}}
	case wire.JobPrune:
		c.Prune = &wire.Prune{MaxUnused: "5%", MaxRepackSize: "20G"}
	case wire.JobCheck:
		c.Check = &wire.Check{ReadDataSubset: "3/12"}
	case wire.JobVerify: // always the machine's own
		c.Host, c.ResticHost, c.TargetHost, c.Credentials, c.Repository = sampleHost, sampleHost.ResticHost(), "", nil, sampleRepository()
		c.Verify = &wire.Verify{Groups: []wire.VerifyGroup{{Name: "etc-and-home", ResticHost: sampleHost.ResticHost(), Tag: "etc-and-home"}}, Sample: 20}
	}
	return c
}

func sampleDumpCommand() *wire.JobCommand {
	c, group := sampleCommand(), sampleDump()
	c.Name, c.Kind, c.Restore, c.Backup, c.Hooks = "dump-now", wire.JobBackup, nil, &group, sampleHooks()
	return c
}

const sampleSnapshot = "a3f5c1d09b7e42f6885c0e9d3b1a7f64c2e8d05b96f1374aa0c5e7d2b8f39610"

func sampleStats() wire.RepositoryStats {
	return wire.RepositoryStats{
		Time: sampleTime.Add(time.Hour), ListedTime: sampleTime, Snapshots: 31, RestoreBytes: 209715200, RawBytes: 734003200,
		RawTime: sampleTime.Add(-72 * time.Hour), FutureSnapshots: 1,
		Groups: []wire.GroupStats{{
			Name: "etc-and-home", Snapshots: 31, RestoreBytes: 209715200, Oldest: sampleTime.AddDate(-1, 0, 0), Newest: sampleTime,
		}},
	}
}

// finished is the result of a job of a kind on another machine's repository.
func finished(kind wire.JobKind) *wire.JobFinished {
	m := &wire.JobFinished{
		Report: wire.ReportID{Epoch: "5XEMZJ2RQKVD6TLA", Seq: 9}, Outcome: wire.OutcomeSucceeded, StartedAt: sampleTime, FinishedAt: sampleTime.Add(time.Minute),
		Job: wire.JobRef{JobID: wire.CommandID(sampleUID), Kind: kind, HostJob: "web-1-maintenance", HostJobUID: sampleUID, TargetHost: sampleHost.Name},
	}
	switch kind {
	case wire.JobForget:
		m.Outcome, m.Reason, m.Message = wire.OutcomeFailed, wire.ReasonForgetRefused, "the repository is append-only for these credentials: bind admin credentials"
		m.ExitCode = 3
		m.Forget = &wire.ForgetSummary{Kept: 12, Removed: 4, Refused: 3, Groups: []wire.ForgetGroupResult{
			{Name: "etc-and-home", Host: sampleHost.Name, Kept: 7, Refused: 3, Error: "403 Forbidden"}, {Name: "shop-db", Host: "db-1", Kept: 5, Removed: 4},
		}}
	case wire.JobPrune:
		m.Attempts, m.LocksRemoved = 2, 1
		m.Prune = &wire.PruneSummary{BytesFreed: 104857600, BytesRemaining: 734003200, BytesUnused: 1048576}
	case wire.JobCheck:
		m.Outcome, m.Reason, m.Message, m.ExitCode = wire.OutcomeFailed, wire.ReasonRepositoryDamaged, "2 errors were found", 1
		m.Check = &wire.CheckSummary{Errors: 2, ReadDataSubset: "3/12", Problems: []string{"pack 4a1f… does not match its id"}, SuggestRepairIndex: true, SuggestPrune: true}
	case wire.JobUnlock:
		m.LocksRemoved = 1
	case wire.JobVerify:
		m.Job.TargetHost = ""
		m.Outcome, m.Reason, m.Message, m.ExitCode = wire.OutcomeFailed, wire.ReasonVerificationFailed, "1 of 20 files differs from its snapshot", -1
		m.Verify = &wire.VerifySummary{FilesVerified: 19, BytesVerified: 1048576, FilesMatchingLive: 11, FilesFailed: 1, FailedPaths: []string{"/etc/hosts"},
			Groups: []wire.VerifyGroupResult{
				{Name: "etc-and-home", SnapshotID: sampleSnapshot, SnapshotTime: sampleTime, FilesInSnapshot: 4000, FilesVerified: 19, FilesFailed: 1},
				{Name: "shop-db", Error: "the group has no snapshot yet"},
			}}
		stats := sampleStats()
		m.Stats = &stats
	}
	return m
}

// sampleVariants are further messages of a type, by the name of the golden file: the type and a word.
func sampleVariants(t testing.TB) map[string]wire.Message {
	t.Helper()
	forget := encodeDocument(t, sampleMaintenance(wire.JobForget))
	dump := scheduledJob()
	dump.SourceGroup = "shop-db"
	set, stats := encodeDocument(t, sampleRichSet()), sampleStats()
	return map[string]wire.Message{
		"stream.close.done":   &wire.StreamClose{Stream: 3},
		"schedule.set.hooks":  &wire.SetOffer{Revision: sampleRichSet().Revision, Bundle: set, Signatures: signatures(set)},
		"job.finished.forget": finished(wire.JobForget),
		"job.finished.prune":  finished(wire.JobPrune),
		"job.finished.check":  finished(wire.JobCheck),
		"job.finished.unlock": finished(wire.JobUnlock),
		"job.finished.verify": finished(wire.JobVerify),
		"job.finished.hooks": &wire.JobFinished{
			Report: wire.ReportID{Epoch: "5XEMZJ2RQKVD6TLA", Seq: 10}, Job: dump, Outcome: wire.OutcomeCompletedWithErrors, Reason: wire.ReasonHookFailed,
			Message: "the snapshot was written, and a hook failed", FinishedAt: sampleTime, Backup: &wire.BackupSummary{SnapshotID: sampleSnapshot},
			HookFailures: []string{"postBackup /etc/restic-manager/hooks/thaw: exit code 1"}, Stats: &stats,
		},
		"command.run.credentials": &wire.CommandRun{
			JobID: wire.CommandID(sampleUID), Command: forget, Signatures: signatures(forget),
			Credentials: []wire.SealedCredential{{Name: wire.CredentialAdmin, Sealed: sampleSealed}},
		},
		"schedule.ack.not-allowed": &wire.SetAck{Revision: sampleRichSet().Revision, Applied: true, Serial: sampleRichSet().Serial, NotAllowed: []wire.NotAllowed{
			{What: "hooks", Message: "the hooks of the host are not allowed: set allow.hooks in agent.yaml"},
			{SourceGroup: "shop-db", What: "commands", Message: "/usr/bin/pg_dump is not allowed: set allow.commands in agent.yaml"},
		}},
		"job.progress.retrying": &wire.JobProgress{
			Job: commandedJob(), Attempt: 2, Retrying: "attempt 2 of 5 at 01:36:00: the repository is locked by another host",
		},
	}
}

// maintenanceDocuments are further signed documents, by the name of the golden file.
func maintenanceDocuments() map[string]interface{ Validate() error } {
	unlock := sampleMaintenance(wire.JobUnlock)
	unlock.Repository.Credential, unlock.Credentials[0].Name = wire.CredentialTarget, wire.CredentialTarget
	documents := map[string]interface{ Validate() error }{
		"document.schedule-set.hooks": sampleRichSet(),
		"document.job-command.dump":   sampleDumpCommand(),
		"document.job-command.forget": sampleMaintenance(wire.JobForget),
		"document.job-command.prune":  sampleMaintenance(wire.JobPrune),
		"document.job-command.check":  sampleMaintenance(wire.JobCheck),
		"document.job-command.unlock": unlock,
		"document.job-command.verify": sampleMaintenance(wire.JobVerify),
		"credential": &wireCredential{wire.Credential{
			Environment:       map[string]string{"RESTIC_PASSWORD": "an example", "RESTIC_REST_USERNAME": "web-1"},
			ClientCertificate: "-----BEGIN CERTIFICATE-----\n…\n-----END CERTIFICATE-----\n",
		}},
	}
	maps.Copy(documents, insideDocuments())
	return documents
}

// wireCredential gives a Credential, which exists inside sealed bytes only, what the golden test asks for.
type wireCredential struct{ wire.Credential }

func (*wireCredential) Validate() error { return nil }
