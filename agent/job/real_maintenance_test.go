package job

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/test/env"
)

const adminPassword = "the password of who may delete"

// appendOnly is a repository with two ways to it: one on which nothing is ever deleted, and the admin's.
type appendOnly struct {
	data                    string
	ordinary, admin         string
	ca                      string
	ordinaryAuth, adminAuth func() (wire.Credential, error)
}

func newAppendOnly(t *testing.T) appendOnly {
	t.Helper()
	start := func(o env.RestServerOptions) *env.RestServer {
		s, err := env.StartRestServer(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Stop() })
		return s
	}
	dir := t.TempDir()
	s := start(env.RestServerOptions{Dir: dir, Users: map[string]string{"web-1": "ordinary"}, AppendOnly: true})
	a := start(env.RestServerOptions{Dir: dir, Data: s.Data, CA: s.CA, Name: "admin", Users: map[string]string{"web-1": adminPassword}})
	ca, err := os.ReadFile(s.CA.CertFile)
	if err != nil {
		t.Fatal(err)
	}
	auth := func(password string) func() (wire.Credential, error) {
		return func() (wire.Credential, error) {
			return wire.Credential{Environment: map[string]string{"RESTIC_PASSWORD": "correct horse", "RESTIC_REST_USERNAME": "web-1", "RESTIC_REST_PASSWORD": password}}, nil
		}
	}
	return appendOnly{data: filepath.Join(s.Data, "web-1"), ordinary: s.RepositoryURL("web-1"), admin: a.RepositoryURL("web-1"), ca: string(ca),
		ordinaryAuth: auth("ordinary"), adminAuth: auth(adminPassword)}
}

// as goes the ordinary way, asAdmin the other one.
func (a appendOnly) as(j Job) Job {
	j.Repository = wire.Repository{URL: a.ordinary, CABundle: a.ca, Credential: wire.CredentialRepository}
	j.Credential = a.ordinaryAuth
	return j
}

func (a appendOnly) asAdmin(j Job) Job {
	j.Repository = wire.Repository{URL: a.admin, SameAs: a.ordinary, CABundle: a.ca, Credential: wire.CredentialAdmin}
	j.Credential = a.adminAuth
	return j
}

func (a appendOnly) own(o *Options) {
	o.Own = func() (Own, bool) {
		j := a.as(Job{})
		return Own{ResticHost: "web-1.shop", Repository: j.Repository, Credential: j.Credential, Groups: []wire.SourceGroup{{Name: "etc", Tag: "etc"}}}, true
	}
}

// files counts those below a folder of the repository.
func (a appendOnly) files(t *testing.T, folder string) int {
	t.Helper()
	n := 0
	err := filepath.WalkDir(filepath.Join(a.data, folder), func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			n++
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (f *realFixture) do(j Job, outcome wire.Outcome, reason wire.Reason) wire.JobFinished {
	f.t.Helper()
	f.submit(j)
	r := f.result(j.Ref.JobID)
	if r.Outcome != outcome || r.Reason != reason {
		f.t.Fatalf("%s: %+v", j.Ref.JobID, r)
	}
	return r
}

func lastForget(id string) Job {
	j := kindJob(id, wire.JobForget, "x")
	j.Forget = &wire.Forget{Groups: []wire.ForgetGroup{{Name: "etc", Host: "web-1", ResticHost: "web-1.shop", Tag: "etc", Retention: wire.Retention{KeepLast: 1}}}}
	return j
}

func TestRealMaintenanceOfAnAppendOnlyRepository(t *testing.T) {
	for _, version := range []string{env.Restic, env.ResticOld} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			repo := newAppendOnly(t)
			f := newRealVersion(t, version, repo.own)
			f.Ensure(repo.as(backupJob("ignored", "x")))
			if r := f.result(InitID(repo.ordinary)); r.Outcome != wire.OutcomeSucceeded {
				t.Fatalf("init: %+v", r)
			}
			if s := receive(t, f.seen.stats, "the listing after the init").Stats; s.Snapshots != 0 {
				t.Errorf("%+v", s)
			}
			dir := t.TempDir()
			var counted *wire.RepositoryStats
			for i, id := range []string{"backup-1", "backup-2", "backup-3"} {
				data, err := os.ReadFile(filepath.Join(source(t, 600_000), "data")) // each leaves garbage when it is forgotten
				if err != nil {
					t.Fatal(err)
				}
				for name, content := range map[string][]byte{"data": data, strings.Repeat("x", i+1): []byte("more\n")} {
					if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
						t.Fatal(err)
					}
				}
				j := repo.as(backupJob(id, "x"))
				j.Backup.Includes = []string{dir}
				counted = f.do(j, wire.OutcomeSucceeded, "").Stats
			}

			f.do(repo.as(kindJob("unlock", wire.JobUnlock, "x")), wire.OutcomeSucceeded, "")
			listed := receive(t, f.seen.stats, "the listing after the unlock")
			near := cmpopts.EquateApproxTime(time.Minute) // a snapshot is dated when restic begins, a moment after the agent does
			if diff := cmp.Diff(counted, &listed.Stats, near); diff != "" || listed.Stats.Snapshots != 3 || listed.URL != repo.ordinary {
				t.Errorf("what was counted is not what was listed: %s", diff)
			}

			refused := f.do(repo.as(lastForget("forget-1")), wire.OutcomeFailed, wire.ReasonForgetRefused)
			if refused.Forget.Removed != 0 || refused.Forget.Refused != 2 || repo.files(t, "snapshots") != 3 {
				t.Errorf("%+v, %d snapshots", refused.Forget, repo.files(t, "snapshots"))
			}
			f.do(repo.asAdmin(lastForget("forget-2")), wire.OutcomeSucceeded, "")
			if s := receive(t, f.seen.stats, "the listing after the forget").Stats; s.Snapshots != 1 || s.Groups[0].Snapshots != 1 {
				t.Errorf("%+v", s)
			}

			packs := repo.files(t, "data")
			prune := kindJob("prune-1", wire.JobPrune, "x")
			prune.Prune = &wire.Prune{MaxUnused: "0"}
			f.do(repo.as(prune), wire.OutcomeFailed, wire.ReasonNoAdminCredentials)
			if repo.files(t, "data") != packs {
				t.Error("a prune without admin credentials changed the repository")
			}
			prune.Ref.JobID = "prune-2"
			if r := f.do(repo.asAdmin(prune), wire.OutcomeSucceeded, ""); r.Prune.BytesFreed < 1_000_000 || r.Prune.BytesRemaining < 500_000 || repo.files(t, "data") >= packs {
				t.Errorf("%+v, %d packs of %d", r.Prune, repo.files(t, "data"), packs)
			}
			if s := receive(t, f.seen.stats, "the listing after the prune").Stats; s.RawBytes < 500_000 || s.RawBytes > 1_000_000 {
				t.Errorf("%+v", s)
			}

			check := kindJob("check", wire.JobCheck, "x")
			check.Check = &wire.Check{ReadDataSubset: "100%"}
			if r := f.do(repo.as(check), wire.OutcomeSucceeded, ""); r.Check.Errors != 0 || r.Check.ReadDataSubset != "100%" {
				t.Errorf("%+v", r.Check)
			}
			verify := verifyJob("verify", "x")
			verify.Verify.Sample = 3
			if r := f.do(repo.as(verify), wire.OutcomeSucceeded, ""); r.Verify.FilesVerified != 3 || r.Verify.FilesMatchingLive != 3 || r.Verify.Groups[0].FilesInSnapshot != 4 {
				t.Errorf("%+v", r.Verify)
			}
			if left, err := os.ReadDir(f.options.ScratchDir); err != nil || len(left) > 0 {
				t.Errorf("the drill left %v, %v", left, err)
			}
			damage(t, filepath.Join(repo.data, "data"))
			check.Ref.JobID = "check-2"
			if r := f.do(repo.as(check), wire.OutcomeFailed, wire.ReasonRepositoryDamaged); len(r.Check.Problems) == 0 {
				t.Errorf("%+v", r.Check)
			}
			verify.Ref.JobID, verify.Verify.Sample = "verify-2", 10 // all files, the damaged one among them
			f.do(repo.as(verify), wire.OutcomeFailed, wire.ReasonVerificationFailed)
			f.Close()
			nowhere(t, f.dir, adminPassword)
		})
	}
}

// damage flips bytes in the middle of the largest file below a folder.
func damage(t *testing.T, folder string) {
	t.Helper()
	largest, size := "", int64(0)
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Size() > size {
			largest, size = path, info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(largest)
	if err != nil {
		t.Fatal(err)
	}
	for i := range raw[:size/2] {
		raw[i] ^= 0xff
	}
	if err := os.Chmod(largest, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(largest, raw, 0o600); err != nil {
		t.Fatal(err)
	}
}

// nowhere looks for a secret in everything below a folder.
func nowhere(t *testing.T, dir, secret string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		raw, err := os.ReadFile(path)
		if bytes.Contains(raw, []byte(secret)) {
			t.Errorf("%s holds the secret", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
