package job

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/restic-manager/restic-manager/agent/drill"
	"github.com/restic-manager/restic-manager/agent/restic"
	"github.com/restic-manager/restic-manager/api/wire"
)

// kindJob is one of a kind that takes no options.
func kindJob(id string, kind wire.JobKind, url string) Job {
	j := backupJob(id, url)
	j.Ref.Kind, j.Ref.SourceGroup, j.Backup = kind, "", nil
	return j
}

func forgetJob(id, url string, groups ...string) Job {
	j := kindJob(id, wire.JobForget, url)
	j.Forget = &wire.Forget{}
	for _, g := range groups {
		j.Forget.Groups = append(j.Forget.Groups, wire.ForgetGroup{Name: g, Host: "web-1", ResticHost: "web-1.shop", Tag: "tag-" + g,
			Retention: wire.Retention{KeepDaily: 7, KeepWithin: "14d", KeepTags: []string{"keep"}}})
	}
	return j
}

func pruneJob(id, url string) Job {
	j := kindJob(id, wire.JobPrune, url)
	j.Prune, j.Repository.Credential = &wire.Prune{MaxUnused: "10%", MaxRepackSize: "5G"}, wire.CredentialAdmin
	return j
}

func checkJob(id, url string) Job {
	j := kindJob(id, wire.JobCheck, url)
	j.Check = &wire.Check{ReadDataSubset: "3/12"}
	return j
}

func verifyJob(id, url string) Job {
	j := kindJob(id, wire.JobVerify, url)
	j.Verify = &wire.Verify{Groups: []wire.VerifyGroup{{Name: "etc", ResticHost: "web-1.shop", Tag: "etc"}}, Sample: 10}
	return j
}

func TestForgetRunsGroupAfterGroup(t *testing.T) {
	f := newFixture(t)
	f.submit(forgetJob("job-1", "/srv/a", "a", "b"))
	c := f.next("forget")
	want := restic.ForgetOptions{Repository: c.repository, Host: "web-1.shop", Tag: "tag-a", Keep: restic.Retention{KeepDaily: 7, KeepWithin: "14d", KeepTags: []string{"keep"}}}
	if diff := cmp.Diff(want, c.forget); diff != "" {
		t.Errorf("options: %s", diff)
	}
	c.done(reply{forget: restic.ForgetResult{Kept: 7, Removed: 3}})
	if c = f.next("forget"); c.forget.Tag != "tag-b" {
		t.Errorf("second group: %+v", c.forget)
	}
	c.done(reply{forget: restic.ForgetResult{Kept: 1}})
	got := f.result("job-1")
	summary := &wire.ForgetSummary{Kept: 8, Removed: 3, Groups: []wire.ForgetGroupResult{{Name: "a", Host: "web-1", Kept: 7, Removed: 3}, {Name: "b", Host: "web-1", Kept: 1}}}
	if diff := cmp.Diff(summary, got.Forget); diff != "" || got.Outcome != wire.OutcomeSucceeded || got.ExitCode != 0 {
		t.Errorf("%+v\n%s", got, diff)
	}
}

func TestAForgetThatFailsForSomeGroups(t *testing.T) {
	refused := reply{err: failure(restic.KindForgetRefused), forget: restic.ForgetResult{Kept: 2, Refused: 4, ExitCode: 3}}
	good := reply{forget: restic.ForgetResult{Kept: 1, Removed: 1}}
	for _, c := range []struct {
		name    string
		answers []reply
		outcome wire.Outcome
		reason  wire.Reason
		say     string
		first   string // of the summary
		state   wire.RepositoryState
	}{
		{"refused for one, the others are run", []reply{good, refused, good}, wire.OutcomeCompletedWithErrors, wire.ReasonForgetRefused, "1 of 3 groups failed: restic says ForgetRefused", "b", wire.RepositoryReady},
		{"refused for all", []reply{refused, refused, refused}, wire.OutcomeFailed, wire.ReasonForgetRefused, "3 of 3 groups failed", "a", wire.RepositoryReady},
		{"a refusal tells more than another failure", []reply{{err: failure(restic.KindFailed)}, refused, good}, wire.OutcomeCompletedWithErrors, wire.ReasonForgetRefused, "2 of 3", "a", wire.RepositoryReady},
		{"what is wrong with the repository stops them all", []reply{good, {err: failure(restic.KindWrongPassword)}}, wire.OutcomeCompletedWithErrors, wire.ReasonWrongPassword, "2 of 3 groups failed: restic says WrongPassword", "b", wire.RepositoryFailed},
		{"from the beginning", []reply{{err: failure(restic.KindNoRepository)}}, wire.OutcomeFailed, wire.ReasonNoRepository, "3 of 3", "a", wire.RepositoryFailed},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t)
			f.submit(forgetJob("job-1", "/srv/a", "a", "b", "c"))
			for _, answer := range c.answers {
				f.next("forget").done(answer)
			}
			got := f.result("job-1")
			if got.Outcome != c.outcome || got.Reason != c.reason || !strings.Contains(got.Message, c.say) || len(got.Forget.Groups) != 3 || got.Forget.Groups[0].Name != c.first {
				t.Errorf("%+v %+v", got, got.Forget)
			}
			if g := got.Forget.Groups[0]; g.Error == "" {
				t.Errorf("the first group says nothing: %+v", g)
			}
			none(t, f.restic.calls, "restic was called once too often")
			if s := receive(t, f.seen.states, "the state"); s.State != c.state {
				t.Errorf("state %+v", s)
			}
		})
	}
}

func TestOneGroupOfAForgetSpeaksForItself(t *testing.T) {
	f := newFixture(t)
	f.submit(forgetJob("job-1", "/srv/a", "a"))
	f.next("forget").done(reply{err: failure(restic.KindForgetRefused), forget: restic.ForgetResult{Refused: 4}})
	if got := f.result("job-1"); got.Outcome != wire.OutcomeFailed || got.Message != "restic says ForgetRefused" || got.Forget.Refused != 4 {
		t.Errorf("%+v", got)
	}
}

func TestASecondAttemptOfAForgetRunsOnlyWhatIsLeft(t *testing.T) {
	f := newFixture(t, patient)
	f.submit(forgetJob("job-1", "/srv/a", "a", "b", "c"))
	f.next("forget").done(reply{forget: restic.ForgetResult{Removed: 1}})
	f.next("forget").done(reply{err: failure(restic.KindLocked)})
	f.next("unlock").done(reply{})
	f.pass(1, time.Minute)
	for _, tag := range []string{"tag-b", "tag-c"} {
		c := f.next("forget")
		if c.forget.Tag != tag {
			t.Errorf("%s is run, want %s", c.forget.Tag, tag)
		}
		c.done(reply{forget: restic.ForgetResult{Removed: 1}})
	}
	if got := f.result("job-1"); got.Outcome != wire.OutcomeSucceeded || got.Forget.Removed != 3 || got.Attempts != 2 || got.Forget.Groups[1].Error != "" {
		t.Errorf("%+v %+v", got, got.Forget)
	}
}

func TestACancelledForgetTellsWhatItDid(t *testing.T) {
	f := newFixture(t)
	f.submit(forgetJob("job-1", "/srv/a", "a", "b"))
	f.next("forget").done(reply{forget: restic.ForgetResult{Removed: 2}})
	f.next("forget")
	if err := f.Cancel("job-1"); err != nil {
		t.Fatal(err)
	}
	if got := f.result("job-1"); got.Outcome != wire.OutcomeCancelled || got.Forget.Removed != 2 {
		t.Errorf("%+v %+v", got, got.Forget)
	}
}

func TestTheResultOfAForgetIsBoundedAndTroubleComesFirst(t *testing.T) {
	f := newFixture(t)
	var names []string
	for i := range wire.MaxForgetResults + 5 {
		names = append(names, fmt.Sprint("g", i))
	}
	f.submit(forgetJob("job-1", "/srv/a", names...))
	for i := range names {
		answer := reply{forget: restic.ForgetResult{Kept: 1}}
		if i == len(names)-1 {
			answer.err = &restic.Error{Kind: restic.KindFailed, Message: strings.Repeat("x", 10_000)}
		}
		f.next("forget").done(answer)
	}
	got := f.result("job-1")
	if len(got.Forget.Groups) != wire.MaxForgetResults || got.Forget.Groups[0].Name != names[len(names)-1] || len(got.Forget.Groups[0].Error) > maxGroupError || got.Forget.Kept != int64(len(names)) {
		t.Errorf("%d groups, first %+v, kept %d", len(got.Forget.Groups), got.Forget.Groups[0], got.Forget.Kept)
	}
}

func TestPruneNeedsAdminCredentials(t *testing.T) {
	f := newFixture(t)
	j := pruneJob("job-1", "/srv/a")
	j.Repository.Credential = wire.CredentialRepository
	j.Credential = func() (wire.Credential, error) {
		t.Error("the credential was asked for")
		return credential()
	}
	f.submit(j)
	if got := f.result("job-1"); got.Outcome != wire.OutcomeFailed || got.Reason != wire.ReasonNoAdminCredentials || !strings.Contains(got.Message, "adminCredentialsSecretRef") {
		t.Errorf("%+v", got)
	}
	none(t, f.restic.calls, "restic was started")

	f.submit(pruneJob("job-2", "/srv/a"))
	c := f.next("prune")
	if c.prune.MaxUnused != "10%" || c.prune.MaxRepackSize != "5G" {
		t.Errorf("%+v", c.prune)
	}
	c.done(reply{prune: restic.PruneResult{BytesFreed: 5, BytesRemaining: 6, BytesUnused: 7}})
	got := f.result("job-2")
	if diff := cmp.Diff(&wire.PruneSummary{BytesFreed: 5, BytesRemaining: 6, BytesUnused: 7}, got.Prune); diff != "" || got.Outcome != wire.OutcomeSucceeded {
		t.Errorf("%+v %s", got, diff)
	}
}

func TestCheckTellsDamageFromWhatKeptItFromChecking(t *testing.T) {
	f := newFixture(t)
	f.submit(checkJob("job-1", "/srv/a"))
	c := f.next("check")
	if c.check.ReadDataSubset != "3/12" {
		t.Errorf("%+v", c.check)
	}
	c.done(reply{err: failure(restic.KindDamaged), check: restic.CheckResult{Errors: 2, Problems: []string{"pack 1 is damaged"}, SuggestRepairIndex: true, ExitCode: 1}})
	got := f.result("job-1")
	want := &wire.CheckSummary{Errors: 2, ReadDataSubset: "3/12", Problems: []string{"pack 1 is damaged"}, SuggestRepairIndex: true}
	if diff := cmp.Diff(want, got.Check); diff != "" || got.Outcome != wire.OutcomeFailed || got.Reason != wire.ReasonRepositoryDamaged {
		t.Errorf("%+v %s", got, diff)
	}
	f.submit(checkJob("job-2", "/srv/a"))
	f.next("check").done(reply{err: failure(restic.KindUnreachable), check: restic.CheckResult{Errors: 1}})
	if got := f.result("job-2"); got.Check != nil || got.Reason != wire.ReasonUnreachable {
		t.Errorf("a check that could not be made says something about the repository: %+v", got)
	}
}

func TestUnlockTellsHowManyLocksItRemoved(t *testing.T) {
	f := newFixture(t)
	f.submit(kindJob("job-1", wire.JobUnlock, "/srv/a"))
	f.next("unlock").done(reply{removed: 3})
	if got := f.result("job-1"); got.Outcome != wire.OutcomeSucceeded || got.LocksRemoved != 3 || got.ExitCode != 0 {
		t.Errorf("%+v", got)
	}
}

func TestADrillIsJudgedByWhatItFound(t *testing.T) {
	good := wire.VerifySummary{FilesVerified: 10, BytesVerified: 100, Groups: []wire.VerifyGroupResult{{Name: "etc", SnapshotID: "abcdef01", FilesVerified: 10}}}
	bad := wire.VerifySummary{FilesVerified: 9, FilesFailed: 1, FailedPaths: []string{"/etc/passwd"}, Groups: []wire.VerifyGroupResult{{Name: "etc", SnapshotID: "abcdef01", FilesVerified: 9, FilesFailed: 1}}}
	nothing := wire.VerifySummary{Groups: []wire.VerifyGroupResult{{Name: "etc", Error: "there is no snapshot"}}}
	for _, c := range []struct {
		name    string
		summary wire.VerifySummary
		err     error
		outcome wire.Outcome
		reason  wire.Reason
		say     string
	}{
		{"all files are good", good, nil, wire.OutcomeSucceeded, "", ""},
		{"a file differs", bad, nil, wire.OutcomeFailed, wire.ReasonVerificationFailed, "/etc/passwd"},
		{"there is no snapshot", nothing, nil, wire.OutcomeFailed, wire.ReasonNoSnapshot, "etc"},
		{"it could not be carried through", good, failure(restic.KindTLS), wire.OutcomeFailed, wire.ReasonTLS, "restic says TLS"},
		{"the disk is no good", wire.VerifySummary{}, errors.New("the scratch folder cannot be made"), wire.OutcomeFailed, wire.ReasonResticFailed, "scratch folder"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t)
			var options drill.Options
			f.drill = func(_ context.Context, _ drill.Restic, o drill.Options) (wire.VerifySummary, error) {
				options = o
				return c.summary, c.err
			}
			f.submit(verifyJob("job-1", "/srv/a"))
			got := f.result("job-1")
			if got.Outcome != c.outcome || got.Reason != c.reason || !strings.Contains(got.Message, c.say) {
				t.Errorf("%+v", got)
			}
			if diff := cmp.Diff(&c.summary, got.Verify); diff != "" {
				t.Error(diff)
			}
			if options.ScratchDir != f.options.ScratchDir || options.Verify.Sample != 10 || options.LiveHost != "web-1.shop" || options.Repository.URL != "/srv/a" {
				t.Errorf("%+v", options)
			}
		})
	}
}

func TestMaintenanceThatMakesNoSenseIsRefused(t *testing.T) {
	f := newFixture(t)
	for name, change := range map[string]func(*Job){
		"no rule":          func(j *Job) { j.Forget.Groups[0].Retention = wire.Retention{} },
		"tag is missing":   func(j *Job) { j.Forget.Groups[0].Tag = "" },
		"restichost":       func(j *Job) { j.Forget.Groups[0].ResticHost = "" },
		"forget belongs":   func(j *Job) { j.Forget = nil },
		"prune belongs":    func(j *Job) { j.Prune = &wire.Prune{} },
		"check belongs":    func(j *Job) { j.Check = &wire.Check{} },
		"verify belongs":   func(j *Job) { j.Verify = &wire.Verify{} },
		"hooks belong":     func(j *Job) { j.Hooks = &wire.Hooks{} },
		"maxunused":        func(j *Job) { *j = pruneJob("job-1", "/srv/a"); j.Prune.MaxUnused = "--all" },
		"readdatasubset":   func(j *Job) { *j = checkJob("job-1", "/srv/a"); j.Check.ReadDataSubset = "much" },
		"sample is 0":      func(j *Job) { *j = verifyJob("job-1", "/srv/a"); j.Verify.Sample = 0 },
		"is not known":     func(j *Job) { j.Ref.Kind = "Defrost" },
		"credential is mi": func(j *Job) { j.Credential = nil },
	} {
		j := forgetJob("job-1", "/srv/a", "a")
		change(&j)
		if err := f.Submit(j); err == nil || !strings.Contains(strings.ToLower(err.Error()), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOtherWaysToARepositoryWaitForEachOther(t *testing.T) {
	f := newFixture(t)
	f.submit(backupJob("job-1", "/srv/a"))
	first := f.next("backup")
	j := pruneJob("job-2", "/srv/admin/a")
	j.Repository.SameAs, j.TargetHost = "/srv/a/", "web-2"
	f.submit(j)
	if s := receive(t, f.seen.started, "a start"); s.Job.TargetHost != "" {
		t.Errorf("%+v", s)
	}
	if s := receive(t, f.seen.started, "the queued one"); !s.Queued || s.Job.TargetHost != "web-2" {
		t.Errorf("%+v", s)
	}
	none(t, f.restic.calls, "both run")
	first.done(reply{backup: restic.BackupResult{SnapshotID: "abcdef01"}})
	f.result("job-1")
	c := f.next("prune")
	if c.repository.URL != "/srv/admin/a" {
		t.Errorf("prune goes to %s", c.repository.URL)
	}
	c.done(reply{})
	if got := f.result("job-2"); got.Job.TargetHost != "web-2" {
		t.Errorf("%+v", got)
	}
}

func TestAForgetIsTriedAgainForTheGroupsThatWereLockedOutWhateverFailedBefore(t *testing.T) {
	f := newFixture(t, patient)
	f.submit(forgetJob("job-1", "/srv/a", "a", "b"))
	f.next("forget").done(reply{err: failure(restic.KindForgetRefused)})
	f.next("forget").done(reply{err: failure(restic.KindUnreachable)})
	f.waitsFor("attempt 2 of 3 at 12:01 UTC", 2)
	f.pass(1, time.Minute)
	c := f.next("forget")
	if c.forget.Tag != "tag-b" {
		t.Errorf("the second attempt is for %s", c.forget.Tag)
	}
	c.done(reply{forget: restic.ForgetResult{Kept: 1}})
	if got := f.result("job-1"); got.Outcome != wire.OutcomeCompletedWithErrors || got.Reason != wire.ReasonForgetRefused || got.Attempts != 2 {
		t.Errorf("%+v", got)
	}
}
