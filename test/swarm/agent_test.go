package swarm

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"github.com/restic-manager/restic-manager/agent/clock/clocktest"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/api/wire/seal"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// alone is a fleet of one agent, controllers' keys in the hands of the test, a clock that stands still, and no gateway.
type alone struct {
	*testing.T
	*Fleet
	agent  *Agent
	signer *seal.Signer
	clock  *clocktest.Clock
	serial int64
}

func newAlone(t *testing.T, change func(*Options)) *alone {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := &alone{T: t, clock: clocktest.New(noon)}
	if a.signer, err = seal.NewSigner(key); err != nil {
		t.Fatal(err)
	}
	o := Options{URL: "https://127.0.0.1:1", Namespace: "shop", Count: 1, SigningKeys: a.signer.PublicKeys(), Clock: a.clock}
	if change != nil {
		change(&o)
	}
	if a.Fleet, err = New(o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Stop)
	a.agent = a.Fleet.Agent(0)
	return a
}

// offer hands the agent a set that was signed for it.
func (a *alone) offer(set *wire.ScheduleSet) {
	a.Helper()
	a.serial++
	set.Label, set.Host, set.IdentityHash, set.SigningKeys = wire.ScheduleSetLabel, a.agent.Ref(), a.agent.Identity().Hash(), a.signer.PublicKeys()
	set.Serial, set.Revision = a.serial, "r"+string(rune('0'+a.serial))
	offer := wire.SetOffer{Revision: set.Revision}
	if !set.Tombstone {
		c, err := seal.SealCredential(a.agent.Ref(), a.agent.Identity(), wire.CredentialRepository, wire.Credential{Environment: map[string]string{"RESTIC_PASSWORD": "x"}})
		if err != nil {
			a.Fatal(err)
		}
		set.ResticHost, set.Credentials = "sim-0.shop", []wire.CredentialHash{{Name: c.Name, SHA256: seal.Hash(c.Sealed)}}
		set.Repository = wire.Repository{URL: "rest:https://backup.example.com/sim-0/", Credential: wire.CredentialRepository}
		offer.Credentials = []wire.SealedCredential{c}
	}
	var err error
	if offer.Bundle, err = wire.EncodeDocument(set); err != nil {
		a.Fatal(err)
	}
	offer.Signatures = a.signer.Sign(offer.Bundle)
	(*handler)(a.agent).SetOffered(&offer)
	if a.agent.Revision() != set.Revision {
		a.Fatalf("revision in force is %q, want %q", a.agent.Revision(), set.Revision)
	}
}

func (a *alone) hourly() *wire.ScheduleSet {
	return &wire.ScheduleSet{
		Groups:    []wire.SourceGroup{{Name: "etc", Tag: "etc", Includes: []string{"/etc"}}},
		Schedules: []wire.Schedule{{Name: "hourly", Cron: "0 * * * *", TimeZone: "UTC", Groups: []string{"etc"}, WhenDisconnected: wire.WhenDisconnectedRun}},
	}
}

func (a *alone) until(what string, ok func(*Agent) bool) {
	a.Helper()
	ctx, cancel := context.WithTimeout(a.Context(), 20*time.Second)
	defer cancel()
	if err := a.Wait(ctx, what, ok); err != nil {
		a.Fatal(err)
	}
}

func TestAnAgentFiresBySchedulesWhileTheGatewayIsAway(t *testing.T) {
	a := newAlone(t, func(o *Options) { o.Cron = true })
	a.Start()
	a.offer(a.hourly())
	a.clock.BlockUntil(2) // cron, and the wait between two dials
	a.clock.Advance(time.Hour)
	a.clock.BlockUntil(3) // the fire waits a moment for a session
	a.clock.Advance(10 * time.Second)
	a.until("the state of the repository and a result wait for the gateway", func(a *Agent) bool { return a.Waiting() == 2 })
	if c := a.Counts(); c.OfflineStarts != 1 || c.Succeeded != 1 || c.Fires != 0 {
		t.Errorf("counts are %+v", c)
	}
	if len(a.Endings()) == 0 || a.agent.Trouble() == "" {
		t.Error("nothing says why there is no session")
	}
	a.offer(&wire.ScheduleSet{Tombstone: true})
	a.clock.Advance(2 * time.Hour)
	if c := a.Counts(); c.Tombstones != 1 || c.Jobs != 1 || !Removed(a.agent) {
		t.Errorf("after the tombstone counts are %+v", c)
	}
	if _, ok := a.agent.Credential(wire.CredentialRepository); ok {
		t.Error("a removed agent still has its credential")
	}
}

func TestAnAgentFiresOnlyWhatIsInItsSet(t *testing.T) {
	a := newAlone(t, nil)
	if n := a.Fire("hourly", "etc", "2026-03-01T12:00"); n != 0 {
		t.Errorf("without a set %d agents fire", n)
	}
	a.offer(a.hourly())
	for _, c := range []struct{ schedule, group, nominal string }{
		{"daily", "etc", "2026-03-01T12:00"}, {"hourly", "home", "2026-03-01T12:00"}, {"hourly", "etc", "at noon"},
	} {
		if err := a.agent.Fire(c.schedule, c.group, c.nominal); err == nil {
			t.Errorf("%+v is fired", c)
		}
	}
}

func TestJobsOfAnAgentRunOneAfterAnotherAndOnce(t *testing.T) {
	a := newAlone(t, func(o *Options) {
		o.Behaviour.Job = func(Job) Result { return Result{Took: time.Minute} }
	})
	jobs := &a.agent.jobs
	job := func(id string) Job {
		return Job{Agent: a.agent, Ref: wire.JobRef{JobID: id, Kind: wire.JobBackup, SourceGroup: "etc"}}
	}
	for _, id := range []string{"one", "two", "two", "three"} {
		jobs.submit(job(id))
	}
	a.clock.BlockUntil(1)
	if queued, running := jobs.list(); strings.Join(running, " ") != "one" || strings.Join(queued, " ") != "two three" {
		t.Errorf("running %v, queued %v", running, queued)
	}
	jobs.cancel("two")
	a.clock.Advance(time.Minute)
	a.clock.BlockUntil(1)
	if _, running := jobs.list(); strings.Join(running, " ") != "three" {
		t.Errorf("running %v, want three: two was cancelled", running)
	}
	jobs.cancel("three")
	a.until("all jobs ended", func(*Agent) bool { return jobs.idle() })
	if c := a.Counts(); c.Succeeded != 1 || c.Cancelled != 2 || c.Waiting != 3 {
		t.Errorf("counts are %+v", c)
	}
}

func TestResultsOfAllKindsAreValidReports(t *testing.T) {
	a := newAlone(t, nil)
	forget := &wire.Forget{Groups: []wire.ForgetGroup{{Name: "etc", Host: "sim-0", ResticHost: "sim-0.shop", Tag: "etc", Retention: wire.Retention{KeepLast: 1}}}}
	commands := map[wire.JobKind]wire.JobCommand{
		wire.JobRestore: {Restore: &wire.Restore{Snapshot: wire.LatestSnapshot, Target: "/tmp/x"}},
		wire.JobForget:  {Forget: forget},
		wire.JobPrune:   {Prune: &wire.Prune{}},
		wire.JobCheck:   {Check: &wire.Check{ReadDataSubset: "5%"}},
		wire.JobVerify:  {Verify: &wire.Verify{Groups: []wire.VerifyGroup{{Name: "etc"}, {Name: "home"}}, Sample: 20}},
	}
	results := []Result{Succeeded(), Failed(wire.ReasonLocked, "The repository is locked."), CompletedWithErrors("/etc/shadow"),
		{Outcome: wire.OutcomeCancelled, Reason: wire.ReasonCancelled, Message: "The job was cancelled."}}
	var r record
	for _, kind := range append(wire.JobKinds(), wire.JobBackup, wire.JobForget) {
		for i, result := range results {
			t.Run(string(kind)+" "+string(result.Outcome), func(t *testing.T) {
				command := commands[kind]
				task := &task{Job: Job{Agent: a.agent, Command: &command, Ref: wire.JobRef{JobID: string(kind) + string(rune('0'+i)), Kind: kind, SourceGroup: "etc"}}}
				report := r.finished(task, result, a.agent)
				report.SetID(wire.ReportID{Epoch: "e", Seq: 1})
				if err := report.Validate(); err != nil {
					t.Errorf("%v: %+v", err, report)
				}
				if written := report.Backup != nil && report.Backup.SnapshotID != ""; written != (kind == wire.JobBackup && i%2 == 0) {
					t.Errorf("snapshot written: %t", written)
				}
			})
		}
	}
	if s := r.stats(noon); s.Snapshots != 1 {
		t.Errorf("after a forget the record holds %+v", s)
	}
}
