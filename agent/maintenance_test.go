package agent

import (
	"bytes"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/restic-manager/restic-manager/agent/vault"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/api/wire/seal"
	"github.com/restic-manager/restic-manager/test/env"
)

const adminPassword = "admin-only-7f3a9c"

// appendOnly gives the world a repository on which nothing is ever deleted, and returns the admin's way to it.
func (w *world) appendOnly() wire.Repository {
	w.t.Helper()
	start := func(o env.RestServerOptions) *env.RestServer {
		s, err := env.StartRestServer(w.t.Context(), o)
		if err != nil {
			w.t.Fatal(err)
		}
		w.t.Cleanup(func() { _ = s.Stop() })
		return s
	}
	dir := w.t.TempDir()
	ordinary := start(env.RestServerOptions{Dir: dir, Users: map[string]string{"web-1": "ordinary"}, AppendOnly: true})
	admin := start(env.RestServerOptions{Dir: dir, Data: ordinary.Data, CA: ordinary.CA, Name: "admin", Users: map[string]string{"web-1": adminPassword}})
	ca, err := os.ReadFile(ordinary.CA.CertFile)
	if err != nil {
		w.t.Fatal(err)
	}
	w.repo, w.caBundle = ordinary.RepositoryURL("web-1"), string(ca)
	w.environment = map[string]string{"RESTIC_PASSWORD": password, "RESTIC_REST_USERNAME": "web-1", "RESTIC_REST_PASSWORD": "ordinary"}
	return wire.Repository{URL: admin.RepositoryURL("web-1"), SameAs: w.repo, CABundle: w.caBundle, Credential: wire.CredentialAdmin}
}

// carrying is a command with one sealed credential.
func (w *world) carrying(uid, name string, environment map[string]string, change func(*wire.JobCommand)) *wire.CommandRun {
	w.t.Helper()
	sealed, err := seal.SealCredential(w.config.Ref(), w.identity, name, wire.Credential{Environment: environment})
	if err != nil {
		w.t.Fatal(err)
	}
	run := w.command(uid, func(c *wire.JobCommand) {
		c.Backup = nil
		c.Credentials = []wire.CredentialHash{{Name: name, SHA256: seal.Hash(sealed.Sealed)}}
		change(c)
	})
	run.Credentials = []wire.SealedCredential{sealed}
	return run
}

// do sends a command and waits for a result that is as wanted.
func (w *world) do(run *wire.CommandRun, outcome wire.Outcome, reason wire.Reason) *wire.JobFinished {
	w.t.Helper()
	w.send(run)
	if ack := w.answer(run.JobID); !ack.Accepted {
		w.t.Fatalf("%s was refused: %+v", run.JobID, ack)
	}
	got := w.finished(run.JobID)
	if got.Outcome != outcome || got.Reason != reason {
		w.t.Fatalf("%s ended %s %s %q, want %s %s", run.JobID, got.Outcome, got.Reason, got.Message, outcome, reason)
	}
	return got
}

func (w *world) forget(keep int) func(*wire.JobCommand) {
	return func(c *wire.JobCommand) {
		c.Kind, c.Backup = wire.JobForget, nil
		c.Forget = &wire.Forget{Groups: []wire.ForgetGroup{{Name: "etc", Host: "web-1", ResticHost: c.ResticHost, Tag: "etc", Retention: wire.Retention{KeepLast: keep}}}}
	}
}

// nowhere fails when a text stands in any file or name below the folders.
func nowhere(t *testing.T, text string, dirs ...string) {
	t.Helper()
	files := 0
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || strings.Contains(path, text) {
				t.Errorf("%s: %v", path, err)
			}
			if !d.Type().IsRegular() {
				return nil
			}
			files++
			raw, err := os.ReadFile(path)
			if err != nil || bytes.Contains(raw, []byte(text)) {
				t.Errorf("%s holds %q (%v)", path, text, err)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	if files == 0 {
		t.Error("there was no file to search")
	}
}

func TestAMachineKeepsItsRepositoryHealthy(t *testing.T) {
	w := newWorld(t)
	adminWay := w.appendOnly()
	adminEnvironment := maps.Clone(w.environment)
	adminEnvironment["RESTIC_REST_PASSWORD"] = adminPassword
	asAdmin := func(change func(*wire.JobCommand)) func(*wire.JobCommand) {
		return func(c *wire.JobCommand) { change(c); c.Repository = adminWay }
	}
	stop := w.ready()
	for _, uid := range []string{"b1", "b2", "b3"} {
		if err := os.WriteFile(filepath.Join(w.source, "changing"), bytes.Repeat([]byte(uid), 50_000), 0o600); err != nil {
			t.Fatal(err)
		}
		w.do(w.command(uid, nil), wire.OutcomeSucceeded, "")
	}

	refused := w.do(w.command("f1", w.forget(1)), wire.OutcomeFailed, wire.ReasonForgetRefused)
	if refused.Forget == nil || refused.Forget.Removed != 0 || refused.Forget.Refused != 2 {
		t.Errorf("the ordinary user's forget: %+v", refused.Forget)
	}
	w.do(w.command("p1", func(c *wire.JobCommand) { c.Kind, c.Backup, c.Prune = wire.JobPrune, nil, &wire.Prune{} }), wire.OutcomeFailed, wire.ReasonNoAdminCredentials)
	removed := w.do(w.carrying("f2", wire.CredentialAdmin, adminEnvironment, asAdmin(w.forget(1))), wire.OutcomeSucceeded, "")
	if removed.Forget == nil || removed.Forget.Removed != 2 || removed.Forget.Kept != 1 {
		t.Errorf("the admin's forget: %+v", removed.Forget)
	}
	stats := next(w, "the listing after the forget", func(m *wire.RepoStats) bool { return m.Stats.Snapshots == 1 })
	if stats.URL != w.repo || len(stats.Stats.Groups) != 1 || stats.Stats.Groups[0].Name != "etc" {
		t.Errorf("statistics are %+v", stats)
	}
	pruned := w.do(w.carrying("p2", wire.CredentialAdmin, adminEnvironment, asAdmin(func(c *wire.JobCommand) {
		c.Kind, c.Prune = wire.JobPrune, &wire.Prune{MaxUnused: "0%"}
	})), wire.OutcomeSucceeded, "")
	if pruned.Prune == nil || pruned.Prune.BytesFreed <= 0 {
		t.Errorf("the prune: %+v", pruned.Prune)
	}
	w.do(w.command("c1", func(c *wire.JobCommand) {
		c.Kind, c.Backup, c.Check = wire.JobCheck, nil, &wire.Check{ReadDataSubset: "100%"}
	}), wire.OutcomeSucceeded, "")
	w.do(w.command("u1", func(c *wire.JobCommand) { c.Kind, c.Backup = wire.JobUnlock, nil }), wire.OutcomeSucceeded, "")
	verified := w.do(w.command("v1", func(c *wire.JobCommand) {
		c.Kind, c.Backup = wire.JobVerify, nil
		c.Verify = &wire.Verify{Sample: 10, Groups: []wire.VerifyGroup{{Name: "etc", ResticHost: c.ResticHost, Tag: "etc"}}}
	}), wire.OutcomeSucceeded, "")
	if verified.Verify == nil || verified.Verify.FilesVerified != 3 || verified.Verify.FilesMatchingLive != 3 {
		t.Errorf("the drill: %+v", verified.Verify)
	}

	// The admin's password comes from elsewhere, and is never on the disk; neither after the end nor in a log.
	nowhere(t, adminPassword, w.config.StateDir)
	var status Status
	w.until("the status tells the drill", func() bool {
		status, _ = ReadStatus(w.config.StateDir)
		return status.Results["Verify"].Did != ""
	})
	for kind, did := range map[string]string{"Forget": "removed 2 snapshots, kept 1", "Check": "0 errors, read 100% of the data", "Verify": "3 files verified, 0 failed", "Unlock": "0 stale locks removed"} {
		if got := status.Results[kind].Did; got != did {
			t.Errorf("status says of %s %q, want %q", kind, got, did)
		}
	}
	if got := status.Results["Prune"].Did; !strings.HasPrefix(got, "freed ") {
		t.Errorf("status says of Prune %q", got)
	}
	stop()
	nowhere(t, adminPassword, w.config.StateDir)
	if strings.Contains(w.logs.String(), adminPassword) {
		t.Error("the admin's password stands in the log")
	}
}

func TestACommandWhoseCredentialIsAnotherIsRefused(t *testing.T) {
	w := newWorld(t)
	w.ready()
	prune := func(c *wire.JobCommand) {
		c.Kind, c.Prune, c.Repository.Credential = wire.JobPrune, &wire.Prune{}, wire.CredentialAdmin
	}
	bare := w.carrying("bare", wire.CredentialAdmin, w.environment, prune)
	bare.Credentials = nil
	swapped := w.carrying("swapped", wire.CredentialAdmin, w.environment, prune)
	swapped.Credentials = w.carrying("other", wire.CredentialAdmin, w.environment, prune).Credentials
	for _, run := range []*wire.CommandRun{bare, swapped} {
		w.send(run)
		if ack := w.answer(run.JobID); ack.Accepted || ack.Reason != wire.RefusalBadCredential {
			t.Errorf("%s: the answer is %+v", run.JobID, ack)
		}
	}
}

func TestAnExecutorWorksOnAnotherHostsRepository(t *testing.T) {
	w := newWorld(t)
	w.ready()
	w.do(w.command("b1", nil), wire.OutcomeSucceeded, "")
	// Another host's repository, with a credential that this machine never keeps.
	const targetPassword = "target-only-51e0"
	target := wire.Repository{URL: filepath.Join(w.root, "target"), Credential: wire.CredentialTarget}
	environment := map[string]string{"RESTIC_PASSWORD": targetPassword}
	onTarget := func(change func(*wire.JobCommand)) func(*wire.JobCommand) {
		return func(c *wire.JobCommand) { c.Repository, c.TargetHost = target, "db-1"; change(c) }
	}
	made := w.do(w.carrying("i1", wire.CredentialTarget, environment, onTarget(func(c *wire.JobCommand) { c.Kind = wire.JobInit })), wire.OutcomeSucceeded, "")
	if made.Job.TargetHost != "db-1" || made.Stats != nil {
		t.Errorf("the result is %+v", made)
	}
	w.do(w.carrying("c1", wire.CredentialTarget, environment, onTarget(func(c *wire.JobCommand) { c.Kind, c.Check = wire.JobCheck, &wire.Check{} })), wire.OutcomeSucceeded, "")
	// The machine's own repository is what it was, and its own credential does not open the other one.
	w.do(w.command("b2", nil), wire.OutcomeSucceeded, "")
	w.do(w.command("c2", func(c *wire.JobCommand) {
		c.Kind, c.Backup, c.Check, c.Repository.URL, c.TargetHost = wire.JobCheck, nil, &wire.Check{}, target.URL, "db-1"
	}), wire.OutcomeFailed, wire.ReasonWrongPassword)
	var status Status
	w.until("the status tells the check", func() bool {
		status, _ = ReadStatus(w.config.StateDir)
		return status.Results["Check for db-1"].Reason != ""
	})
	if status.Repository.State != wire.RepositoryReady || status.Repository.URL != w.repo || status.Results["Check for db-1"].Reason != wire.ReasonWrongPassword {
		t.Errorf("status is %+v", status)
	}
	nowhere(t, targetPassword, w.config.StateDir)
}

func TestTheFormerPasswordGoesWhenTheNewOneWasSeenToWork(t *testing.T) {
	w := newWorld(t)
	stop := w.ready()
	w.do(w.command("b1", nil), wire.OutcomeSucceeded, "")
	kept := func() *vault.Vault {
		v, err := vault.Open(filepath.Join(w.config.StateDir, "secrets.enc"), w.config.Identity.SealingKey)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	// A password that the repository does not know.
	w.environment = map[string]string{"RESTIC_PASSWORD": "mistyped"}
	w.apply()
	next(w, "trouble", func(m *wire.RepoState) bool { return m.Reason == wire.ReasonWrongPassword })
	if former, waits := kept().Get(vault.Previous); !waits || former.Environment["RESTIC_PASSWORD"] != password {
		t.Errorf("the password that works is not kept: %v", waits)
	}
	exported, err := ExportCredentials(w.config)
	if err != nil || exported.Credential.Environment["RESTIC_PASSWORD"] != "mistyped" || exported.Previous == nil || exported.Previous.Environment["RESTIC_PASSWORD"] != password {
		t.Errorf("exported %v", err)
	}
	// It outlives a restart.
	stop()
	w.start()
	next[*wire.Hello](w, "the next process", nil)
	if _, waits := kept().Get(vault.Previous); !waits {
		t.Error("the password that works is lost at a restart")
	}
	// The right one.
	w.environment = map[string]string{"RESTIC_PASSWORD": password}
	w.apply()
	next(w, "the repository again", func(m *wire.RepoState) bool { return m.State == wire.RepositoryReady })
	if _, waits := kept().Get(vault.Previous); waits {
		t.Error("the mistyped password is kept")
	}
	// One that was added to the repository: the old one is gone once the new one was seen to open it.
	const added = "added-later-9c1d"
	w.restic(password, added+"\n", "key", "add", "--new-password-file", "/dev/stdin")
	w.environment = map[string]string{"RESTIC_PASSWORD": added}
	w.apply()
	w.do(w.command("b2", nil), wire.OutcomeSucceeded, "")
	v := kept()
	if _, waits := v.Get(vault.Previous); waits {
		t.Error("the former password is still there")
	}
	if now, _ := v.Get(wire.CredentialRepository); now.Environment["RESTIC_PASSWORD"] != added {
		t.Error("the new password is not there")
	}
}
