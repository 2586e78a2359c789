package wire_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"testing"
	"time"

	"github.com/restic-manager/restic-manager/api/wire"
)

// The samples are one realistic session of one machine. Every key in them is made from a sentence; nothing in them is a secret.
var (
	sampleHost     = wire.HostRef{Namespace: "shop", Name: "web-1"}
	sampleTime     = time.Date(2026, 3, 1, 1, 30, 0, 0, time.UTC)
	controllersKey = ed25519.NewKeyFromSeed(sum("the controllers of the example"))
	machineKey     = ed25519.NewKeyFromSeed(sum("the machine of the example"))
	sampleIdentity = wire.Identity{
		SigningKey: machineKey.Public().(ed25519.PublicKey),
		SealingKey: sum("a sealing key's public half, for the example"),
	}
	sampleSealed = bytes.Repeat([]byte("sealed "), 20)
)

func sum(s string) []byte {
	h := sha256.Sum256([]byte(s))
	return h[:]
}

func signatures(document string) []wire.Signature {
	public := controllersKey.Public().(ed25519.PublicKey)
	return []wire.Signature{{KeyID: wire.KeyIDOf(public), Value: ed25519.Sign(controllersKey, []byte(document))}}
}

func signingKeys() []wire.SigningKey {
	public := controllersKey.Public().(ed25519.PublicKey)
	return []wire.SigningKey{{KeyID: wire.KeyIDOf(public), PublicKey: public}}
}

func encodeDocument(t testing.TB, v interface{ Validate() error }) string {
	t.Helper()
	raw, err := wire.EncodeDocument(v)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func sampleGroup() wire.SourceGroup {
	return wire.SourceGroup{
		Name: "etc-and-home", Generation: 2, Tag: "etc-and-home",
		Includes: []string{"/etc", "/home"}, Excludes: []string{"*.cache", "/home/*/Downloads"},
		ExcludeIfPresent: []string{".nobackup"}, ExcludeCaches: true, ExcludeLargerThan: "4G", OneFileSystem: true,
	}
}

func sampleRepository() wire.Repository {
	return wire.Repository{URL: "rest:https://backup.example.com/web-1", Credential: wire.CredentialRepository}
}

func sampleSet() *wire.ScheduleSet {
	hash := sha256.Sum256(sampleSealed)
	return &wire.ScheduleSet{
		Label: wire.ScheduleSetLabel, Host: sampleHost, HostUID: sampleHostUID, IdentityHash: sampleIdentity.Hash(),
		Serial: 1772328600000000, Revision: "b1946ac92492d234",
		ResticHost: sampleHost.ResticHost(), Repository: sampleRepository(), Bandwidth: wire.Bandwidth{UploadKBps: 20480},
		Groups: []wire.SourceGroup{sampleGroup()},
		Schedules: []wire.Schedule{{
			Name: "nightly", Generation: 1, Cron: "30 2 * * *", TimeZone: "Europe/Zurich", JitterSeconds: 2700,
			Groups: []string{"etc-and-home"}, WhenDisconnected: wire.WhenDisconnectedRun, StartingDeadlineSeconds: 14400,
		}},
		Credentials: []wire.CredentialHash{{Name: wire.CredentialRepository, SHA256: hex.EncodeToString(hash[:])}},
		SigningKeys: signingKeys(),
		TLSPins:     []string{"sha256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="},
	}
}

func sampleTombstone() *wire.ScheduleSet {
	return &wire.ScheduleSet{
		Label: wire.ScheduleSetLabel, Host: sampleHost, HostUID: sampleHostUID, IdentityHash: sampleIdentity.Hash(),
		Serial: 1772328700000000, Revision: "591785b794601e21", Tombstone: true, KeepCredentials: true, SigningKeys: signingKeys(),
	}
}

const sampleHostUID = "0b9f4c0a-3a0c-4a43-8f2b-5f1f2b0d3c77"

const sampleUID = "6f1c0f2e-8f52-4c53-9d0e-6a4a3c6f5a11"

func sampleCommand() *wire.JobCommand {
	return &wire.JobCommand{
		Label: wire.JobCommandLabel, Host: sampleHost, IdentityHash: sampleIdentity.Hash(), Name: "restore-hosts", UID: sampleUID,
		NotAfter: sampleTime.Add(time.Hour), ActiveDeadlineSeconds: 3600, Kind: wire.JobRestore,
		ResticHost: sampleHost.ResticHost(), Repository: sampleRepository(),
		Restore: &wire.Restore{
			Snapshot: wire.LatestSnapshot, Tag: "etc-and-home", Target: "/srv/restore", Includes: []string{"/etc/hosts"},
			Overwrite: "if-changed", Verify: true,
		},
	}
}

func sampleBackupCommand() *wire.JobCommand {
	c, group := sampleCommand(), sampleGroup()
	c.Name, c.Kind, c.Restore, c.Backup = "backup-now", wire.JobBackup, nil, &group
	return c
}

func sampleCancel() *wire.JobCancel {
	return &wire.JobCancel{Label: wire.JobCancelLabel, Host: sampleHost, IdentityHash: sampleIdentity.Hash(), UID: sampleUID}
}

func sampleHelloBody() wire.HelloBody {
	return wire.HelloBody{
		Label: wire.HelloLabel, Nonce: sum("a nonce"), ServerName: "gateway.example.com", Host: sampleHost, Protocol: wire.Protocol,
		Session: 42, Process: "TKJ3Q5YHXN4ZWMR7", AgentVersion: "v0.1.0", ResticVersion: "0.19.1",
		System:          wire.System{OS: "linux", Arch: "amd64", Hostname: "web-1.example.com"},
		AppliedRevision: "b1946ac92492d234", AppliedSerial: 1772328600000000,
		Epoch: "5XEMZJ2RQKVD6TLA", Unacked: 1, Queued: []string{"fire-2c26b46b68ffc68ff99b453c"}, Running: []string{wire.CommandID(sampleUID)},
		Clock: sampleTime,
	}
}

func sampleVerdict() *wire.EnrolVerdict {
	return &wire.EnrolVerdict{
		Label: wire.EnrolVerdictLabel, Host: sampleHost, HostUID: sampleHostUID, TokenIDHash: wire.TokenIDHash("4GJQ2ZKD"),
		IdentityHash: sampleIdentity.Hash(), Approved: true, Reason: wire.EnrolApproved, Message: "web-1 is enrolled", Time: sampleTime,
	}
}

func sampleToken() *wire.Token {
	return &wire.Token{
		URL: "https://gateway.example.com", Host: sampleHost, HostUID: sampleHostUID, ID: "4GJQ2ZKD",
		Secret: []byte("this-is-an-example-not-a-secret!"), NotAfter: sampleTime.Add(time.Hour), SigningKeys: signingKeys(),
		SerialFloor: 1772328000000000, TLSPins: []string{"sha256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="},
	}
}

func sampleEnrolRequest() *wire.EnrolRequest {
	token := sampleToken()
	return &wire.EnrolRequest{
		Host: sampleHost, HostUID: token.HostUID, TokenID: token.ID, Identity: sampleIdentity,
		Proof:        wire.EnrolProof(token.Secret, token.HostUID, token.ID, sampleIdentity),
		AgentVersion: "v0.1.0", System: wire.System{OS: "linux", Arch: "amd64", Hostname: "web-1.example.com"},
	}
}

func sampleEnrolResponse(t testing.TB) *wire.EnrolResponse {
	verdict := encodeDocument(t, sampleVerdict())
	return &wire.EnrolResponse{Verdict: verdict, Signatures: signatures(verdict)}
}

const sampleNominal = "2026-03-01T02:30"

func sampleFireID() string {
	return wire.FireID(sampleHost, "nightly", "etc-and-home", sampleNominal)
}

func scheduledJob() wire.JobRef {
	return wire.JobRef{JobID: sampleFireID(), Kind: wire.JobBackup, Schedule: "nightly", Nominal: sampleNominal, SourceGroup: "etc-and-home"}
}

func commandedJob() wire.JobRef {
	return wire.JobRef{JobID: wire.CommandID(sampleUID), Kind: wire.JobRestore, HostJob: "restore-hosts", HostJobUID: sampleUID, SourceGroup: "etc-and-home"}
}

// sampleMessages has one message of every type.
func sampleMessages(t testing.TB) map[wire.Type]wire.Message {
	t.Helper()
	hello, err := wire.SignHello(machineKey, sampleHelloBody())
	if err != nil {
		t.Fatal(err)
	}
	set, command, cancel := encodeDocument(t, sampleSet()), encodeDocument(t, sampleCommand()), encodeDocument(t, sampleCancel())
	query := encodeDocument(t, sampleQuery())
	report := func(seq int64) wire.ReportID { return wire.ReportID{Epoch: "5XEMZJ2RQKVD6TLA", Seq: seq} }
	all := []wire.Message{
		&wire.Challenge{Nonce: sum("a nonce"), ServerName: "gateway.example.com", MinProtocol: wire.MinProtocol, Protocol: wire.Protocol},
		hello,
		&wire.Welcome{HeartbeatSeconds: 30, PingsCount: true, Gateway: "gateway-7c9f5d8b6-x2x7k", Time: sampleTime},
		&wire.Heartbeat{},
		&wire.SetOffer{
			Revision: sampleSet().Revision, Bundle: set, Signatures: signatures(set),
			Credentials: []wire.SealedCredential{{Name: wire.CredentialRepository, Sealed: sampleSealed}},
		},
		&wire.SetAck{
			Revision: sampleSet().Revision, Reason: wire.RefusalOlderSerial,
			Message: "the set's serial 1772328600000000 is older than 1772328700000000, which is in force",
		},
		&wire.Fire{
			JobID: sampleFireID(), Schedule: "nightly", SourceGroup: "etc-and-home", Nominal: sampleNominal,
			Due: sampleTime.Add(11 * time.Minute), Revision: sampleSet().Revision,
		},
		&wire.Verdict{JobID: sampleFireID(), Reason: wire.VerdictSuspended, Message: "Schedule nightly is suspended"},
		&wire.CommandRun{JobID: wire.CommandID(sampleUID), Command: command, Signatures: signatures(command)},
		&wire.CommandAck{
			JobID: wire.CommandID(sampleUID), Reason: wire.RefusalExpired,
			Message: "the command was valid until 2026-03-01T02:30:00Z, and this machine's clock says 2026-03-01T02:31:12Z",
		},
		&wire.CommandCancel{JobID: wire.CommandID(sampleUID), Cancel: cancel, Signatures: signatures(cancel)},
		&wire.JobStarted{Job: commandedJob(), StartedAt: sampleTime},
		&wire.JobProgress{
			Job: scheduledJob(), FilesDone: 1200, FilesTotal: 4000, BytesDone: 52428800, BytesTotal: 209715200, Errors: 1,
			SecondsRemaining: 9, Retrying: "Load(<config>): connection refused",
		},
		&wire.JobFinished{
			Report: report(7), Job: scheduledJob(), Outcome: wire.OutcomeCompletedWithErrors, Reason: wire.ReasonSourceUnreadable,
			Message: "1 file could not be read: /home/ann/.ssh/agent.lock", ExitCode: 3,
			StartedAt: sampleTime.Add(11 * time.Minute), FinishedAt: sampleTime.Add(12 * time.Minute), Offline: true,
			Backup: &wire.BackupSummary{
				SnapshotID: "a3f5c1d09b7e42f6885c0e9d3b1a7f64c2e8d05b96f1374aa0c5e7d2b8f39610", FilesNew: 12, FilesChanged: 3,
				FilesUnmodified: 3985, FilesProcessed: 4000, BytesProcessed: 209715200, BytesAdded: 1048576, BytesStored: 524288,
				Errors: 1, FailedPaths: []string{"/home/ann/.ssh/agent.lock"},
			},
			LogTail: "error: open /home/ann/.ssh/agent.lock: permission denied\nsnapshot a3f5c1d0 saved\n",
		},
		&wire.RepoState{
			Report: report(8), State: wire.RepositoryRetrying, Reason: wire.ReasonUnreachable,
			Message: "backup.example.com:443 refuses the connection; restic tries again",
			URL:     "rest:https://backup.example.com/web-1", Time: sampleTime,
		},
		&wire.RepoStats{Report: report(9), Stats: sampleStats(), URL: "rest:https://backup.example.com/web-1"},
		&wire.ReportAck{Report: report(8), Discarded: true, Reason: "the Host does not exist any more"},
		&wire.StreamOpen{Stream: 1, Query: query, Signatures: signatures(query), Credit: wire.StreamWindow},
		&wire.StreamCredit{Stream: 1, Bytes: 262208},
		&wire.StreamClose{Stream: 1, Reason: wire.RefusalNotAllowed},
		&wire.Wait{Seconds: 40},
		&wire.Drain{SpreadSeconds: 30},
		&wire.Error{
			Code: wire.CodeProtocolTooOld, Message: "this gateway speaks protocol 2 and newer; upgrade the agent",
			HelpURL: "https://restic-manager.io/docs/upgrade", RetryAfterSeconds: 3600,
		},
	}
	byType := make(map[wire.Type]wire.Message, len(all))
	for _, m := range all {
		byType[m.MessageType()] = m
	}
	return byType
}

// sampleDocuments has one of everything that is encoded outside a frame, by the name of its golden file.
func sampleDocuments(t testing.TB) map[string]interface{ Validate() error } {
	t.Helper()
	hello := sampleHelloBody()
	documents := map[string]interface{ Validate() error }{
		"document.schedule-set":           sampleSet(),
		"document.schedule-set.tombstone": sampleTombstone(),
		"document.job-command.restore":    sampleCommand(),
		"document.job-command.backup":     sampleBackupCommand(),
		"document.job-cancel":             sampleCancel(),
		"document.host-query":             sampleQuery(),
		"query.parameters":                sampleParameters(),
		"document.hello-body":             &hello,
		"document.enrol-verdict":          sampleVerdict(),
		"http.enrol-request":              sampleEnrolRequest(),
		"http.enrol-response":             sampleEnrolResponse(t),
		"http.enrol-refused": &wire.Error{
			Code: wire.CodeTokenExpired, Message: "the token has expired: ask for a new one",
		},
		"token": sampleToken(),
	}
	maps.Copy(documents, maintenanceDocuments())
	return documents
}

func sampleQuery() *wire.HostQuery {
	return &wire.HostQuery{
		Label: wire.HostQueryLabel, Host: sampleHost, IdentityHash: sampleIdentity.Hash(), Name: "files-7k2xq", UID: sampleUID,
		NotAfter: sampleTime.Add(10 * time.Minute), Kind: wire.QueryFiles, Parameters: []byte("sealed to the machine"),
		PublicKey: sum("a requester's public key, for the example"),
	}
}

// parameters validates those of a query of kind Files.
type parameters struct{ wire.QueryParameters }

func (p *parameters) Validate() error { return p.QueryParameters.Validate(wire.QueryFiles) }

func sampleParameters() *parameters {
	return &parameters{wire.QueryParameters{Files: &wire.FilesQuery{Snapshot: "a3f5c1d0", Path: "/etc", Recursive: true}}}
}

// newDocument returns an empty value of the type of a sample document.
func newDocument(v interface{ Validate() error }) interface{ Validate() error } {
	switch v.(type) {
	case *wire.ScheduleSet:
		return &wire.ScheduleSet{}
	case *wire.JobCommand:
		return &wire.JobCommand{}
	case *wire.JobCancel:
		return &wire.JobCancel{}
	case *wire.HostQuery:
		return &wire.HostQuery{}
	case *parameters:
		return &parameters{}
	case *wire.HelloBody:
		return &wire.HelloBody{}
	case *wire.EnrolVerdict:
		return &wire.EnrolVerdict{}
	case *wire.EnrolRequest:
		return &wire.EnrolRequest{}
	case *wire.EnrolResponse:
		return &wire.EnrolResponse{}
	case *wire.Error:
		return &wire.Error{}
	case *wire.Token:
		return &wire.Token{}
	case *wireCredential:
		return &wireCredential{}
	}
	return newInside(v)
}

func indent(t testing.TB, raw []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := json.Indent(&out, raw, "", "  "); err != nil {
		t.Fatal(err)
	}
	out.WriteByte('\n')
	return out.Bytes()
}
