package hostjob

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/controllers/internal/convert"
	"github.com/restic-manager/restic-manager/controllers/status"
)

var created = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const hostUID = types.UID("uid-of-web-1")

// testIdentity is of no machine.
var testIdentity = wire.Identity{SigningKey: bytes.Repeat([]byte{1}, wire.KeySize), SealingKey: bytes.Repeat([]byte{2}, wire.KeySize)}

func testHost() *v1alpha1.Host {
	return &v1alpha1.Host{
		ObjectMeta: metav1.ObjectMeta{Name: "web-1", Namespace: "shop", UID: hostUID, Labels: map[string]string{"role": "web"}},
		Spec: v1alpha1.HostSpec{
			Repository: v1alpha1.Repository{URL: "rest:https://backup.example.com/web-1", CABundle: "PEM"},
			Bandwidth:  &v1alpha1.Bandwidth{UploadKBps: 100},
			Identity:   convert.HostIdentity(&testIdentity),
		},
	}
}

func testGroup() *v1alpha1.SourceGroup {
	return &v1alpha1.SourceGroup{
		ObjectMeta: metav1.ObjectMeta{Name: "etc", Namespace: "shop", Generation: 3},
		Spec: v1alpha1.SourceGroupSpec{
			Selector: v1alpha1.Selector{HostSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"role": "web"}}},
			Includes: []string{"/etc"},
			Tag:      "configuration",
		},
	}
}

func job(kind v1alpha1.HostJobKind) *v1alpha1.HostJob {
	j := &v1alpha1.HostJob{
		ObjectMeta: metav1.ObjectMeta{Name: "now", Namespace: "shop", UID: "uid-of-now", CreationTimestamp: metav1.NewTime(created)},
		Spec: v1alpha1.HostJobSpec{
			HostRef: v1alpha1.LocalReference{Name: "web-1"}, Kind: kind, ActiveDeadlineSeconds: 60, StartingDeadlineSeconds: 3600,
		},
	}
	switch kind {
	case v1alpha1.HostJobBackup:
		j.Spec.Backup = &v1alpha1.BackupJob{SourceGroup: "etc"}
	case v1alpha1.HostJobRestore:
		j.Spec.Restore = &v1alpha1.RestoreJob{Snapshot: "latest", SourceGroup: "etc", Overwrite: v1alpha1.OverwriteIfChanged}
	}
	return j
}

func TestDecide(t *testing.T) {
	deadline := created.Add(time.Hour)
	silent := deadline.Add(time.Minute + reportGrace)
	under := func(phase v1alpha1.HostJobPhase, now, started time.Time) func(*facts) {
		return func(f *facts) {
			f.now, f.job.Status.Phase = now, phase
			f.job.Status.DispatchTime = new(metav1.NewTime(created.Add(time.Minute)))
			if !started.IsZero() {
				f.job.Status.StartTime = new(metav1.NewTime(started))
			}
		}
	}
	for _, test := range []struct {
		name   string
		kind   v1alpha1.HostJobKind // default Backup
		change func(*facts)

		phase   v1alpha1.HostJobPhase
		command bool
		cancel  bool
		waits   bool   // Ready is lost, not for good
		message string // part of it
		again   time.Time
	}{
		{name: "a new job gets its command", phase: v1alpha1.JobPending, command: true, message: "waiting for the machine to take it, until 2026-03-01T13:00:00Z", again: deadline},
		{name: "an Init needs no group", kind: v1alpha1.HostJobInit, change: func(f *facts) { f.group = nil }, phase: v1alpha1.JobPending, command: true, again: deadline},
		{name: "a suspended host still takes jobs", change: func(f *facts) { f.host.Spec.Suspend = true }, phase: v1alpha1.JobPending, command: true, again: deadline},
		{name: "a job waits for its Host to be created", change: func(f *facts) { f.host = nil },
			phase: v1alpha1.JobPending, waits: true, message: `there is no Host "web-1"`, again: deadline},
		{name: "a job waits for the enrolment", change: func(f *facts) { f.host.Spec.Identity = nil },
			phase: v1alpha1.JobPending, waits: true, message: "run the command in Secret web-1-enrollment", again: deadline},
		{name: "a job waits for its group to be created", change: func(f *facts) { f.group = nil },
			phase: v1alpha1.JobPending, waits: true, message: `spec.backup.sourceGroup: there is no SourceGroup "etc"`, again: deadline},
		{name: "a backup waits until its group is for the host", change: func(f *facts) { f.host.Labels = nil },
			phase: v1alpha1.JobPending, waits: true, message: `SourceGroup "etc" is not for Host "web-1"`, again: deadline},
		{name: "a backup waits until its group is valid", change: func(f *facts) {
			f.group.Spec.HostSelector = &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "role", Operator: "Like"}}}
		}, phase: v1alpha1.JobPending, waits: true, message: `SourceGroup "etc": spec.hostSelector`, again: deadline},
		{name: "a job waits while the host's keys are no keys", change: func(f *facts) { f.host.Spec.Identity.SigningKey = "?" },
			phase: v1alpha1.JobPending, waits: true, message: "spec.identity: signingKey is not base64", again: deadline},
		{name: "a restore of the latest snapshot waits for its group", kind: v1alpha1.HostJobRestore, change: func(f *facts) { f.group = nil },
			phase: v1alpha1.JobPending, waits: true, message: "restore a snapshot by its id", again: deadline},
		{name: "a restore does not mind that the group is for other hosts now", kind: v1alpha1.HostJobRestore, change: func(f *facts) { f.host.Labels = nil },
			phase: v1alpha1.JobPending, command: true, again: deadline},
		{name: "a restore by id needs no group", kind: v1alpha1.HostJobRestore, change: func(f *facts) {
			f.group, f.job.Spec.Restore = nil, &v1alpha1.RestoreJob{Snapshot: "0123abcd", SourceGroup: "gone"}
		}, phase: v1alpha1.JobPending, command: true, again: deadline},
		{name: "a pending job that lost its group loses its command", change: func(f *facts) {
			f.job.Status.Phase, f.job.Status.Command, f.group = v1alpha1.JobPending, &v1alpha1.SignedDocument{Document: "{}"}, nil
		}, phase: v1alpha1.JobPending, waits: true, again: deadline},
		{name: "a job that no machine can be given fails", kind: v1alpha1.HostJobRestore, change: func(f *facts) { f.job.Spec.Restore.Overwrite = "Perhaps" },
			phase: v1alpha1.JobFailed, message: "overwrite is"},

		{name: "a job expires when nobody took it", change: func(f *facts) { f.now = deadline }, phase: v1alpha1.JobExpired, message: "the machine did not take it within 1h0m0s"},
		{name: "an expired job says what hindered it", change: func(f *facts) { f.now, f.host = deadline.Add(time.Hour), nil },
			phase: v1alpha1.JobExpired, message: `could not be started within 1h0m0s (spec.startingDeadlineSeconds): spec.hostRef: there is no Host "web-1"`},
		{name: "a job does not expire a second too early", change: func(f *facts) { f.now = deadline.Add(-time.Second) }, phase: v1alpha1.JobPending, command: true, again: deadline},
		{name: "a new job that is cancelled never starts", change: func(f *facts) { f.job.Spec.Cancel = true }, phase: v1alpha1.JobCancelled, message: "before the machine took it"},
		{name: "cancelled says more than expired", change: func(f *facts) { f.job.Spec.Cancel, f.now = true, deadline }, phase: v1alpha1.JobCancelled},
		{name: "a pending job fails with its Host", change: func(f *facts) { own(f.job, hostUID); f.host = nil }, phase: v1alpha1.JobFailed, message: `Host "web-1", for which it was created, was deleted`},
		{name: "a pending job is not for another Host of the same name", change: func(f *facts) { own(f.job, "earlier") }, phase: v1alpha1.JobFailed, message: "was deleted"},
		{name: "an owned job of a living Host goes on", change: func(f *facts) { own(f.job, hostUID) }, phase: v1alpha1.JobPending, command: true, again: deadline},

		{name: "a dispatched job is the gateway's", change: func(f *facts) { f.job.Status.Phase = v1alpha1.JobDispatched }, message: "was told to run it", again: silent},
		{name: "a job that waits for its turn says so", change: func(f *facts) { f.job.Status.Phase, f.job.Status.Queued = v1alpha1.JobDispatched, true },
			message: "another job of the same repository first", again: silent},
		{name: "a dispatched job does not expire", change: under(v1alpha1.JobDispatched, silent.Add(-time.Second), time.Time{}), message: "was told to run it", again: silent},
		{name: "a dispatched job that nothing is heard of is told, and stays", change: under(v1alpha1.JobDispatched, silent, time.Time{}),
			waits: true, message: "nothing was heard of it since 2026-03-01T13:11:00Z"},
		{name: "a running job has its own deadline", change: under(v1alpha1.JobRunning, created.Add(10*time.Minute), created.Add(5*time.Minute)),
			message: "runs it", again: created.Add(16 * time.Minute)},
		{name: "a running job that nothing is heard of is told, and stays", change: under(v1alpha1.JobRunning, created.Add(16*time.Minute), created.Add(5*time.Minute)),
			waits: true, message: "delete the HostJob"},
		{name: "a machine whose clock is behind did not start before it was told to", change: under(v1alpha1.JobRunning, created.Add(2*time.Minute), created.AddDate(-1, 0, 0)),
			message: "runs it", again: created.Add(12 * time.Minute)},
		{name: "a running job goes on without its group", change: func(f *facts) { f.job.Status.Phase, f.group = v1alpha1.JobRunning, nil }, message: "runs it", again: silent},
		{name: "a running job is cancelled by a command", change: func(f *facts) { f.job.Status.Phase, f.job.Spec.Cancel = v1alpha1.JobRunning, true }, cancel: true, message: "is told to stop it", again: silent},
		{name: "a dispatched job is cancelled by a command", change: func(f *facts) { f.job.Status.Phase, f.job.Spec.Cancel = v1alpha1.JobDispatched, true }, cancel: true, again: silent},
		{name: "a running job whose Host is gone cannot be cancelled", change: func(f *facts) {
			f.job.Status.Phase, f.job.Spec.Cancel, f.host = v1alpha1.JobRunning, true, nil
		}, waits: true, message: "cannot be cancelled", again: silent},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.kind == "" {
				test.kind = v1alpha1.HostJobBackup
			}
			f := facts{job: job(test.kind), host: testHost(), group: testGroup(), now: created.Add(time.Minute)}
			if test.change != nil {
				test.change(&f)
			}
			f.target = f.host
			d := decide(f)
			if d.phase != test.phase {
				t.Errorf("phase %q, expected %q (%s)", d.phase, test.phase, d.message)
			}
			if got := d.command != nil; got != test.command {
				t.Errorf("has a command: %v, expected %v (%s)", got, test.command, d.message)
			}
			if got := d.cancel != ""; got != test.cancel {
				t.Errorf("has a cancellation: %v, expected %v", got, test.cancel)
			}
			if got := d.err != nil && !status.IsStalled(d.err); got != test.waits {
				t.Errorf("waits: %v, expected %v: %v", got, test.waits, d.err)
			}
			if !strings.Contains(d.message, test.message) {
				t.Errorf("message %q, expected %q in it", d.message, test.message)
			}
			if !d.again.Equal(test.again) {
				t.Errorf("looks again at %s, expected %s", d.again, test.again)
			}
		})
	}
}

func own(j *v1alpha1.HostJob, uid types.UID) {
	j.OwnerReferences = []metav1.OwnerReference{{APIVersion: v1alpha1.GroupVersion.String(), Kind: "Host", Name: "web-1", UID: uid}}
}

func TestCommandOfABackupCarriesEverythingThatTheMachineNeeds(t *testing.T) {
	host, group := testHost(), testGroup()
	host.Spec.Hooks = &v1alpha1.Hooks{PreBackup: []v1alpha1.Hook{{Command: []string{"/bin/freeze"}}}}
	group.Spec.Hooks = &v1alpha1.Hooks{PostBackup: []v1alpha1.Hook{{Command: []string{"/bin/thaw"}}}}
	got, err := compileCommand(facts{job: job(v1alpha1.HostJobBackup), host: host, target: host, group: group, now: created})
	if err != nil {
		t.Fatal(err)
	}
	want := &wire.JobCommand{
		Label:                 wire.JobCommandLabel,
		Host:                  wire.HostRef{Namespace: "shop", Name: "web-1"},
		IdentityHash:          testIdentity.Hash(),
		Name:                  "now",
		UID:                   "uid-of-now",
		NotAfter:              created.Add(time.Hour),
		ActiveDeadlineSeconds: 60,
		Kind:                  wire.JobBackup,
		ResticHost:            "web-1.shop",
		Repository:            wire.Repository{URL: "rest:https://backup.example.com/web-1", CABundle: "PEM", Credential: wire.CredentialRepository},
		Bandwidth:             wire.Bandwidth{UploadKBps: 100},
		Backup: &wire.SourceGroup{Name: "etc", Generation: 3, Tag: "configuration", Includes: []string{"/etc"},
			Hooks: &wire.Hooks{PostBackup: []wire.Hook{{Command: []string{"/bin/thaw"}, TimeoutSeconds: 600, OnError: "Fail"}}}},
		Hooks: &wire.Hooks{PreBackup: []wire.Hook{{Command: []string{"/bin/freeze"}, TimeoutSeconds: 600, OnError: "Fail"}}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("command (-want +got):\n%s", diff)
	}
}

func TestCommandOfARestore(t *testing.T) {
	for _, test := range []struct {
		name string
		spec v1alpha1.RestoreJob
		want wire.Restore
	}{
		{"the latest snapshot is that of the group's tag on this host", v1alpha1.RestoreJob{Snapshot: "latest", SourceGroup: "etc", Overwrite: v1alpha1.OverwriteAlways},
			wire.Restore{Snapshot: "latest", ResticHost: "web-1.shop", Tag: "configuration", Overwrite: "always"}},
		{"an id says it all", v1alpha1.RestoreJob{Snapshot: "0123abcd", SourceGroup: "etc", Overwrite: v1alpha1.OverwriteIfNewer},
			wire.Restore{Snapshot: "0123abcd", Overwrite: "if-newer"}},
		{"everything else is passed on", v1alpha1.RestoreJob{
			Snapshot: "0123abcd", Target: "/srv/restore", Includes: []string{"/etc/nginx"}, Overwrite: v1alpha1.OverwriteNever, DryRun: true, Verify: true,
		}, wire.Restore{Snapshot: "0123abcd", Target: "/srv/restore", Includes: []string{"/etc/nginx"}, Overwrite: "never", DryRun: true, Verify: true}},
		{"excludes too", v1alpha1.RestoreJob{Snapshot: "0123abcd", Excludes: []string{"/etc/ssl"}},
			wire.Restore{Snapshot: "0123abcd", Excludes: []string{"/etc/ssl"}, Overwrite: "if-changed"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			j := job(v1alpha1.HostJobRestore)
			j.Spec.Restore = &test.spec
			host := testHost()
			got, err := compileCommand(facts{job: j, host: host, target: host, group: testGroup(), now: created})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(&test.want, got.Restore); diff != "" {
				t.Errorf("restore (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCancellationNamesHostIdentityAndJob(t *testing.T) {
	f := facts{job: job(v1alpha1.HostJobBackup), host: testHost(), now: created}
	document, err := cancelDocument(f)
	if err != nil {
		t.Fatal(err)
	}
	got, err := wire.ParseJobCancel(document)
	if err != nil {
		t.Fatal(err)
	}
	want := &wire.JobCancel{
		Label: wire.JobCancelLabel, Host: wire.HostRef{Namespace: "shop", Name: "web-1"},
		IdentityHash: testIdentity.Hash(), UID: "uid-of-now",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("cancellation (-want +got):\n%s", diff)
	}
}
