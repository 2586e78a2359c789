package wire_test

import (
	"strings"
	"testing"
	"time"

	"github.com/restic-manager/restic-manager/api/wire"
)

// broken is a value and how it was damaged.
type broken struct {
	sentence string
	value    interface{ Validate() error }
	want     string
}

// breaking damages a fresh sample message.
func breaking[T wire.Message](t *testing.T, sentence string, damage func(T), want string) broken {
	t.Helper()
	var zero T
	m := sampleMessages(t)[zero.MessageType()].(T)
	damage(m)
	return broken{sentence, m, want}
}

// changed damages a fresh sample document.
func changed[T interface{ Validate() error }](sentence string, v T, damage func(T), want string) broken {
	damage(v)
	return broken{sentence, v, want}
}

func checkBroken(t *testing.T, table []broken) {
	t.Helper()
	for _, b := range table {
		t.Run(b.sentence, func(t *testing.T) {
			err := b.value.Validate()
			if err == nil || !strings.Contains(err.Error(), b.want) {
				t.Errorf("error is %v, want one that says %q", err, b.want)
			}
		})
	}
}

func long(n int) string { return strings.Repeat("x", n) }

func TestMessagesThatAreNotValid(t *testing.T) {
	checkBroken(t, []broken{
		breaking(t, "a challenge with a short nonce", func(m *wire.Challenge) { m.Nonce = m.Nonce[:8] }, "nonce has 8 bytes, want 32"),
		breaking(t, "a challenge without a server name", func(m *wire.Challenge) { m.ServerName = "" }, "serverName is missing"),
		breaking(t, "a challenge whose protocol range is empty", func(m *wire.Challenge) { m.MinProtocol = 9 }, "protocol range 9 to 1 is empty"),
		breaking(t, "a challenge that speaks protocol 0", func(m *wire.Challenge) { m.MinProtocol = 0 }, "is empty"),
		breaking(t, "a hello without a body", func(m *wire.Hello) { m.Body = "" }, "body is missing"),
		breaking(t, "a hello with a large body", func(m *wire.Hello) { m.Body = long(64<<10 + 1) }, "body is longer than 65536 bytes"),
		breaking(t, "a hello with half a signature", func(m *wire.Hello) { m.Signature = m.Signature[:32] }, "signature has 32 bytes, want 64"),
		breaking(t, "a welcome without heartbeats", func(m *wire.Welcome) { m.HeartbeatSeconds = 0 }, "heartbeatSeconds is 0, want 1 to 300"),
		breaking(t, "a welcome with rare heartbeats", func(m *wire.Welcome) { m.HeartbeatSeconds = 301 }, "heartbeatSeconds is 301"),
		breaking(t, "a welcome from nobody", func(m *wire.Welcome) { m.Gateway = "" }, "gateway is missing"),
		breaking(t, "an offer without a revision", func(m *wire.SetOffer) { m.Revision = "" }, "revision is missing"),
		breaking(t, "an offer without a bundle", func(m *wire.SetOffer) { m.Bundle = "" }, "bundle is missing"),
		breaking(t, "an offer with a large bundle", func(m *wire.SetOffer) { m.Bundle = long(wire.MaxBundle + 1) }, "bundle is longer than"),
		breaking(t, "an offer with many signatures", func(m *wire.SetOffer) { m.Signatures = make([]wire.Signature, wire.MaxSignatures+1) }, "signatures has 9 entries, at most 8"),
		breaking(t, "an offer with a long signature", func(m *wire.SetOffer) { m.Signatures[0].Value = make([]byte, 65) }, "signatures.value has 65 bytes"),
		breaking(t, "an offer with a long key id", func(m *wire.SetOffer) { m.Signatures[0].KeyID = long(254) }, "signatures.keyID is longer"),
		breaking(t, "an offer with many credentials", func(m *wire.SetOffer) { m.Credentials = make([]wire.SealedCredential, 17) }, "credentials has 17 entries"),
		breaking(t, "an offer with a nameless credential", func(m *wire.SetOffer) { m.Credentials[0].Name = "" }, "credentials.name is missing"),
		breaking(t, "an offer with an empty credential", func(m *wire.SetOffer) { m.Credentials[0].Sealed = nil }, "credentials.sealed has 0 bytes"),
		breaking(t, "an offer with a large credential", func(m *wire.SetOffer) { m.Credentials[0].Sealed = make([]byte, wire.MaxSealed+1) }, "credentials.sealed has 65537 bytes"),
		breaking(t, "a refusal of a set without a reason", func(m *wire.SetAck) { m.Reason = "" }, "reason is missing"),
		breaking(t, "an acknowledgement with a long message", func(m *wire.SetAck) { m.Message = long(wire.MaxString + 1) }, "message is longer"),
		breaking(t, "an acknowledgement of nothing", func(m *wire.SetAck) { m.Revision = "" }, "revision is missing"),
		breaking(t, "a fire without an id", func(m *wire.Fire) { m.JobID = "" }, "jobID is missing"),
		breaking(t, "a fire whose nominal time has seconds", func(m *wire.Fire) { m.Nominal += ":00" }, "is not of the form 2006-01-02T15:04"),
		breaking(t, "a fire without a group", func(m *wire.Fire) { m.SourceGroup = "" }, "sourceGroup is missing"),
		breaking(t, "a refusal of a fire without a reason", func(m *wire.Verdict) { m.Reason = "" }, "reason is missing"),
		breaking(t, "a command without text", func(m *wire.CommandRun) { m.Command = "" }, "command is missing"),
		breaking(t, "a command without an id", func(m *wire.CommandRun) { m.JobID = "" }, "jobID is missing"),
		breaking(t, "a large command", func(m *wire.CommandRun) { m.Command = long(wire.MaxBundle + 1) }, "command is longer"),
		breaking(t, "a refusal of a command without a reason", func(m *wire.CommandAck) { m.Reason = "" }, "reason is missing"),
		breaking(t, "a cancellation without text", func(m *wire.CommandCancel) { m.Cancel = "" }, "cancel is missing"),
		breaking(t, "a start of no job", func(m *wire.JobStarted) { m.Job.JobID = "" }, "job: jobID is missing"),
		breaking(t, "a start of a job without a kind", func(m *wire.JobStarted) { m.Job.Kind = "" }, "job: kind is missing"),
		breaking(t, "a start of a HostJob without its UID", func(m *wire.JobStarted) { m.Job.HostJobUID = "" }, "hostJob and hostJobUID belong together"),
		breaking(t, "progress that goes backwards", func(m *wire.JobProgress) { m.BytesDone = -1 }, "a count is negative"),
		breaking(t, "progress with a long retry message", func(m *wire.JobProgress) { m.Retrying = long(wire.MaxString + 1) }, "retrying is longer"),
		breaking(t, "a result without an epoch", func(m *wire.JobFinished) { m.Report.Epoch = "" }, "report.epoch is missing"),
		breaking(t, "a result without a number", func(m *wire.JobFinished) { m.Report.Seq = 0 }, "report.seq is missing"),
		breaking(t, "a result of an unknown outcome", func(m *wire.JobFinished) { m.Outcome = "Exploded" }, `outcome "Exploded" is not known`),
		breaking(t, "a failure without a reason", func(m *wire.JobFinished) { m.Reason = "" }, "reason is missing"),
		breaking(t, "a failure without a message", func(m *wire.JobFinished) { m.Message = "" }, "message is missing"),
		breaking(t, "a result without an end", func(m *wire.JobFinished) { m.FinishedAt = time.Time{} }, "finishedAt is missing"),
		breaking(t, "a result with a long log tail", func(m *wire.JobFinished) { m.LogTail = long(wire.MaxLogTail + 1) }, "logTail is longer than 8192 bytes"),
		breaking(t, "a result that lists many files", func(m *wire.JobFinished) { m.Backup.FailedPaths = make([]string, wire.MaxListed+1) }, "backup.failedPaths has 21 entries"),
		breaking(t, "a result with text that is not UTF-8", func(m *wire.JobFinished) { m.LogTail = "\xff" }, "logTail is not valid UTF-8"),
		breaking(t, "a restore that lists many files", func(m *wire.JobFinished) {
			m.Restore = &wire.RestoreSummary{FailedPaths: make([]string, wire.MaxListed+1)}
		}, "restore.failedPaths has 21 entries"),
		breaking(t, "a repository in an unknown state", func(m *wire.RepoState) { m.State = "Confused" }, `state "Confused" is not known`),
		breaking(t, "a failing repository without a reason", func(m *wire.RepoState) { m.Reason = "" }, "reason is missing"),
		breaking(t, "an acknowledgement of report 0", func(m *wire.ReportAck) { m.Report.Seq = 0 }, "report.seq is missing"),
		breaking(t, "a stream without a query", func(m *wire.StreamOpen) { m.Query = "" }, "query is missing"),
		breaking(t, "a stream with less credit than one chunk", func(m *wire.StreamOpen) { m.Credit = wire.MaxChunk }, "credit is below one chunk"),
		breaking(t, "credit of nothing", func(m *wire.StreamCredit) { m.Bytes = 0 }, "bytes is 0"),
		breaking(t, "credit of more than a window", func(m *wire.StreamCredit) { m.Bytes = wire.StreamWindow + 1 }, "want 1 to 1048576"),
		breaking(t, "the end of a stream with a long reason", func(m *wire.StreamClose) { m.Reason = wire.RefusalReason(long(wire.MaxName + 1)) }, "reason is longer"),
		breaking(t, "a wait of hours", func(m *wire.Wait) { m.Seconds = 3601 }, "seconds is 3601, want 0 to 3600"),
		breaking(t, "a drain that takes hours", func(m *wire.Drain) { m.SpreadSeconds = 3601 }, "spreadSeconds is 3601, want 0 to 3600"),
		breaking(t, "a drain into the past", func(m *wire.Drain) { m.SpreadSeconds = -1 }, "spreadSeconds is -1"),
		breaking(t, "an error without a code", func(m *wire.Error) { m.Code = "" }, "code is missing"),
		breaking(t, "an error that retries never", func(m *wire.Error) { m.RetryAfterSeconds = 86401 }, "retryAfterSeconds is 86401"),
	})
}

func TestScheduleSetsThatAreNotValid(t *testing.T) {
	set := func(sentence string, damage func(*wire.ScheduleSet), want string) broken {
		return changed(sentence, sampleSet(), damage, want)
	}
	checkBroken(t, []broken{
		set("a set with another label", func(s *wire.ScheduleSet) { s.Label = wire.JobCommandLabel }, "label is"),
		set("a set for no host", func(s *wire.ScheduleSet) { s.Host.Name = "" }, "host: name is missing"),
		set("a set for no keys", func(s *wire.ScheduleSet) { s.IdentityHash = "" }, "identityHash is missing"),
		set("a set without a serial", func(s *wire.ScheduleSet) { s.Serial = 0 }, "serial is missing"),
		set("a set without a revision", func(s *wire.ScheduleSet) { s.Revision = "" }, "revision is missing"),
		set("a set without signing keys", func(s *wire.ScheduleSet) { s.SigningKeys = nil }, "signingKeys are missing"),
		set("a set with a key under another id", func(s *wire.ScheduleSet) { s.SigningKeys[0].KeyID = "other" }, `keyID "other" does not belong to the key`),
		set("a set with a short key", func(s *wire.ScheduleSet) { s.SigningKeys[0].PublicKey = nil }, "publicKey has 0 bytes"),
		set("a set with many pins", func(s *wire.ScheduleSet) { s.TLSPins = make([]string, 17) }, "tlsPins has 17 entries"),
		set("a set without a restic host", func(s *wire.ScheduleSet) { s.ResticHost = "" }, "resticHost is missing"),
		set("a set without a repository", func(s *wire.ScheduleSet) { s.Repository.URL = "" }, "repository.url is missing"),
		set("a set without a credential's name", func(s *wire.ScheduleSet) { s.Repository.Credential = "" }, "repository.credential is missing"),
		set("a set with many groups", func(s *wire.ScheduleSet) { s.Groups = make([]wire.SourceGroup, wire.MaxGroups+1) }, "groups has 101 entries"),
		set("a set with many schedules", func(s *wire.ScheduleSet) { s.Schedules = make([]wire.Schedule, wire.MaxSchedules+1) }, "schedules has 101 entries"),
		set("a set with a group twice", func(s *wire.ScheduleSet) { s.Groups = append(s.Groups, s.Groups[0]) }, `groups[1]: name "etc-and-home" stands twice`),
		set("a group without includes", func(s *wire.ScheduleSet) { s.Groups[0].Includes = nil }, "groups[0]: exactly one of includes and command is needed"),
		set("a group with many excludes", func(s *wire.ScheduleSet) { s.Groups[0].Excludes = make([]string, wire.MaxPaths+1) }, "excludes has 501 entries"),
		set("a group with a long path", func(s *wire.ScheduleSet) { s.Groups[0].Includes[1] = "/" + long(wire.MaxString) }, "includes[1] is longer than 4096 bytes"),
		set("a schedule without cron", func(s *wire.ScheduleSet) { s.Schedules[0].Cron = "" }, "schedules[0]: cron is missing"),
		set("a schedule without a time zone", func(s *wire.ScheduleSet) { s.Schedules[0].TimeZone = "" }, "timeZone is missing"),
		set("a schedule with two days of jitter", func(s *wire.ScheduleSet) { s.Schedules[0].JitterSeconds = 172800 }, "jitterSeconds is 172800"),
		set("a schedule with another policy", func(s *wire.ScheduleSet) { s.Schedules[0].WhenDisconnected = "Hope" }, `whenDisconnected is "Hope", want Run or Wait`),
		set("a schedule of a missing group", func(s *wire.ScheduleSet) { s.Schedules[0].Groups = []string{"gone"} }, "gone"),
		set("a credential with half a hash", func(s *wire.ScheduleSet) { s.Credentials[0].SHA256 = "abc" }, "not a SHA-256"),
		set("a set that keeps credentials without a tombstone", func(s *wire.ScheduleSet) { s.KeepCredentials = true }, "keepCredentials belongs to a tombstone"),
		changed("a tombstone without signing keys", sampleTombstone(), func(s *wire.ScheduleSet) { s.SigningKeys = nil }, "signingKeys are missing"),
	})
	if err := sampleTombstone().Validate(); err != nil {
		t.Errorf("a tombstone needs more than it should: %v", err)
	}
}

func TestCommandsThatAreNotValid(t *testing.T) {
	restore := func(sentence string, damage func(*wire.JobCommand), want string) broken {
		return changed(sentence, sampleCommand(), damage, want)
	}
	checkBroken(t, []broken{
		restore("a command with another label", func(c *wire.JobCommand) { c.Label = wire.ScheduleSetLabel }, "label is"),
		restore("a command without a UID", func(c *wire.JobCommand) { c.UID = "" }, "uid is missing"),
		restore("a command that never expires", func(c *wire.JobCommand) { c.NotAfter = time.Time{} }, "notAfter is missing"),
		restore("a command with a negative deadline", func(c *wire.JobCommand) { c.ActiveDeadlineSeconds = -1 }, "activeDeadlineSeconds is negative"),
		restore("a command of an unknown kind", func(c *wire.JobCommand) { c.Kind, c.Restore = "Teleport", nil }, `kind "Teleport" is not known to this version`),
		restore("a restore that says nothing of what", func(c *wire.JobCommand) { c.Restore = nil }, "restore belongs to kind Restore"),
		restore("a restore that also backs up", func(c *wire.JobCommand) { g := sampleGroup(); c.Backup = &g }, "backup belongs to kind Backup"),
		restore("a restore of a short snapshot id", func(c *wire.JobCommand) { c.Restore.Snapshot = "a3f5" }, `snapshot "a3f5" is neither an id nor latest`),
		restore("a restore of an option in a snapshot's place", func(c *wire.JobCommand) { c.Restore.Snapshot = "--target=/" }, "neither an id nor latest"),
		restore("a restore into a relative folder", func(c *wire.JobCommand) { c.Restore.Target = "srv" }, `target "srv" is not an absolute path`),
		restore("a restore with includes and excludes", func(c *wire.JobCommand) { c.Restore.Excludes = []string{"*"} }, "includes and excludes exclude each other"),
		restore("a restore that overwrites sometimes", func(c *wire.JobCommand) { c.Restore.Overwrite = "sometimes" }, `overwrite is "sometimes"`),
		changed("a backup of nothing", sampleBackupCommand(), func(c *wire.JobCommand) { c.Backup.Includes = nil }, "backup: exactly one of includes and command is needed"),
		changed("a cancellation with another label", sampleCancel(), func(c *wire.JobCancel) { c.Label = "" }, "label is"),
		changed("a cancellation of nothing", sampleCancel(), func(c *wire.JobCancel) { c.UID = "" }, "uid is missing"),
	})
}

func TestHellosAndEnrolmentsThatAreNotValid(t *testing.T) {
	hello := func(sentence string, damage func(*wire.HelloBody), want string) broken {
		body := sampleHelloBody()
		return changed(sentence, &body, damage, want)
	}
	token := func(sentence string, damage func(*wire.Token), want string) broken {
		return changed(sentence, sampleToken(), damage, want)
	}
	request := func(sentence string, damage func(*wire.EnrolRequest), want string) broken {
		return changed(sentence, sampleEnrolRequest(), damage, want)
	}
	checkBroken(t, []broken{
		hello("a hello with another label", func(b *wire.HelloBody) { b.Label = "" }, "label is"),
		hello("a hello without a session counter", func(b *wire.HelloBody) { b.Session = 0 }, "session is missing"),
		hello("a hello without a process", func(b *wire.HelloBody) { b.Process = "" }, "process is missing"),
		hello("a hello without a protocol", func(b *wire.HelloBody) { b.Protocol = 0 }, "protocol is missing"),
		hello("a hello with a long queue", func(b *wire.HelloBody) { b.Queued = make([]string, 201) }, "queued has 201 entries"),
		hello("a hello from a host with a long name", func(b *wire.HelloBody) { b.System.Hostname = long(254) }, "system.hostname is longer"),
		token("a token for a gateway without TLS", func(t *wire.Token) { t.URL = "http://gateway" }, "url does not begin with https://"),
		token("a token with a short secret", func(t *wire.Token) { t.Secret = t.Secret[:4] }, "secret has 4 bytes, want 32"),
		token("a token that never expires", func(t *wire.Token) { t.NotAfter = time.Time{} }, "notAfter is missing"),
		token("a token without signing keys", func(t *wire.Token) { t.SigningKeys = nil }, "signingKeys are missing"),
		request("a request without keys", func(r *wire.EnrolRequest) { r.Identity = wire.Identity{} }, "identity: signingKey has 0 bytes"),
		request("a request without a proof", func(r *wire.EnrolRequest) { r.Proof = nil }, "proof has 0 bytes, want 32"),
		request("a request without a token's id", func(r *wire.EnrolRequest) { r.TokenID = "" }, "tokenID is missing"),
		changed("a response that waits for days", sampleEnrolResponse(t), func(r *wire.EnrolResponse) { r.RetryAfterSeconds = 3601 }, "retryAfterSeconds is 3601"),
		changed("a verdict with another label", sampleVerdict(), func(v *wire.EnrolVerdict) { v.Label = "" }, "label is"),
		changed("a verdict without a reason", sampleVerdict(), func(v *wire.EnrolVerdict) { v.Reason = "" }, "reason is missing"),
		changed("a verdict on no token", sampleVerdict(), func(v *wire.EnrolVerdict) { v.TokenIDHash = "" }, "tokenIDHash is missing"),
	})
}
