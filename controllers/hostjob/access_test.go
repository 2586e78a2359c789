package hostjob

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/controllers/credentials"
	"github.com/restic-manager/restic-manager/controllers/status"
)

// world is a namespace with Hosts web-1 and vault, which have a repository each, and group etc with retention for both; the job is on the repository of web-1.
type world struct {
	facts
	vault *v1alpha1.Host
	// ownURL: the admin Secret names no URL.
	ownURL bool
}

const adminURL = "rest:https://backup.example.com:8001/web-1"

func newWorld(t *testing.T, kind v1alpha1.HostJobKind, changes ...func(*world)) facts {
	t.Helper()
	host, group := testHost(), testGroup()
	group.Spec.Retention = &v1alpha1.Retention{KeepDaily: 7}
	vault := testHost()
	vault.Name, vault.UID, vault.Labels = "vault", "uid-of-vault", nil
	vault.Spec.Repository.URL = "/srv/vault"
	vault.Spec.Bandwidth = nil
	w := &world{vault: vault, facts: facts{job: job(kind), host: host, target: host, now: created.Add(time.Minute), groups: []v1alpha1.SourceGroup{*group}}}
	for _, change := range changes {
		change(w)
	}
	if w.sharing == nil {
		w.sharing = []*v1alpha1.Host{w.target}
	}
	with, err := accessOf(w.facts)
	if err == nil && with.secret != "" {
		w.credential = &credential{plain: plain(t), url: w.target.Spec.Repository.URL}
		if with.credential == wire.CredentialAdmin && !w.ownURL {
			w.credential.url = adminURL
		}
	}
	return w.facts
}

func plain(t *testing.T) credentials.Plain {
	t.Helper()
	p, err := credentials.Judge(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{v1alpha1.LabelCredentials: "true"}},
		Data:       map[string][]byte{"RESTIC_PASSWORD": []byte("hunter2")},
	}, "rest")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// bound gives the repository admin credentials.
func bound(w *world) {
	w.target.Spec.Repository.AdminCredentialsSecretRef = &v1alpha1.LocalReference{Name: "web-1-admin"}
}

// byVault has the other Host do the work.
func byVault(w *world) {
	w.job.Spec.HostRef.Name, w.job.Spec.TargetRef = "vault", &v1alpha1.LocalReference{Name: "web-1"}
	w.host = w.vault
}

func onItsDisk(w *world) { w.target.Spec.Repository.URL = "/var/backups/restic" }

func noAdminURL(w *world) { w.ownURL = true }

func maintainedBy(name, host, executor string, changes ...func(*v1alpha1.RepoMaintenance)) func(*world) {
	return func(w *world) {
		m := v1alpha1.RepoMaintenance{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "shop", CreationTimestamp: metav1.NewTime(created)}}
		m.Spec.HostRef = &v1alpha1.LocalReference{Name: host}
		m.Spec.TimeZone = "UTC"
		m.Spec.Forget = &v1alpha1.Cadence{Cron: "0 5 * * *"}
		if executor != "" {
			m.Spec.ExecutorRef = &v1alpha1.LocalReference{Name: executor}
		}
		for _, change := range changes {
			change(&m)
		}
		w.maintenances = append(w.maintenances, m)
	}
}

func olderBy(d time.Duration) func(*v1alpha1.RepoMaintenance) {
	return func(m *v1alpha1.RepoMaintenance) { m.CreationTimestamp.Time = m.CreationTimestamp.Add(-d) }
}

func notValid(m *v1alpha1.RepoMaintenance) { m.Spec.Forget.Cron = "61 * * * *" }

func byDefault(m *v1alpha1.RepoMaintenance) {
	m.Labels = map[string]string{v1alpha1.LabelDefault: "true"}
}

func beingDeleted(m *v1alpha1.RepoMaintenance) {
	m.DeletionTimestamp = &metav1.Time{Time: created}
}

// sharedWith has another, older Host in the same repository.
func sharedWith(name string) func(*world) {
	return func(w *world) {
		other := testHost()
		other.Name = name
		other.CreationTimestamp = metav1.NewTime(created.Add(-time.Hour))
		w.target.CreationTimestamp = metav1.NewTime(created)
		other.Spec.Repository.URL = w.target.Spec.Repository.URL
		w.sharing = []*v1alpha1.Host{other, w.target}
	}
}

func TestWhoseCredentialsAJobGets(t *testing.T) {
	const forget, prune, check, unlock = v1alpha1.HostJobForget, v1alpha1.HostJobPrune, v1alpha1.HostJobCheck, v1alpha1.HostJobUnlock
	for _, test := range []struct {
		name    string
		kind    v1alpha1.HostJobKind
		changes []func(*world)
		want    string // name of the credential and URL, or the reason why there is none
		says    string
		read    bool // the Secret must be read to find out
	}{
		{name: "a check of the machine's own repository needs nothing more", kind: check, want: "repository rest:https://backup.example.com/web-1"},
		{name: "not even with admin credentials bound", kind: check, changes: []func(*world){bound}, want: "repository rest:https://backup.example.com/web-1"},
		{name: "an unlock neither", kind: unlock, changes: []func(*world){bound}, want: "repository rest:https://backup.example.com/web-1"},
		{name: "a verify neither", kind: v1alpha1.HostJobVerify, changes: []func(*world){bound}, want: "repository rest:https://backup.example.com/web-1"},
		{name: "a forget goes with what there is", kind: forget, want: "repository rest:https://backup.example.com/web-1"},
		{name: "and with admin credentials where they are bound", kind: forget, changes: []func(*world){bound}, want: "admin " + adminURL},
		{name: "a prune goes with admin credentials", kind: prune, changes: []func(*world){bound}, want: "admin " + adminURL},
		{name: "or not at all", kind: prune, want: "NoAdminCredentials", says: `Host "web-1", spec.repository.adminCredentialsSecretRef`},

		{name: "where an executor is named the machine gets no admin credentials to prune", kind: prune,
			changes: []func(*world){bound, maintainedBy("m", "web-1", "vault")}, want: "NotTheExecutor", says: "hostRef: vault and targetRef: web-1"},
		{name: "nor to forget", kind: forget, changes: []func(*world){bound, maintainedBy("m", "web-1", "vault")}, want: "NotTheExecutor", says: `RepoMaintenance "m"`},
		{name: "not even when the RepoMaintenance has a slip of the pen", kind: forget,
			changes: []func(*world){bound, maintainedBy("m", "web-1", "vault", notValid)}, want: "NotTheExecutor", says: "hostRef: vault"},
		{name: "or a default one is there beside it", kind: forget,
			changes: []func(*world){bound, maintainedBy("m", "web-1", "vault", notValid), maintainedBy("web-1-default", "web-1", "", byDefault, olderBy(time.Hour))}, want: "NotTheExecutor"},
		{name: "or the executor does not exist", kind: forget, changes: []func(*world){bound, maintainedBy("m", "web-1", "nowhere")}, want: "NotTheExecutor", says: "hostRef: nowhere"},
		{name: "or it is named for the repository through an older Host", kind: forget,
			changes: []func(*world){bound, sharedWith("old"), maintainedBy("m", "old", "vault"), maintainedBy("n", "web-1", "")}, want: "NotTheExecutor", says: "hostRef: vault and targetRef: old"},
		{name: "or for the machine while another one is in force for the repository", kind: forget,
			changes: []func(*world){bound, sharedWith("old"), maintainedBy("m", "old", ""), maintainedBy("n", "web-1", "vault")}, want: "NotTheExecutor", says: "hostRef: vault and targetRef: web-1"},
		{name: "or somebody was first with one that names none", kind: prune,
			changes: []func(*world){bound, maintainedBy("m", "web-1", "vault"), maintainedBy("old", "web-1", "", olderBy(time.Hour))}, want: "NotTheExecutor", says: "hostRef: vault and targetRef: web-1"},
		{name: "or made one that names none for an older Host of the repository", kind: forget,
			changes: []func(*world){bound, sharedWith("old"), maintainedBy("m", "old", ""), maintainedBy("n", "web-1", "vault"), func(w *world) {
				w.sharing[0].Spec.Repository.AdminCredentialsSecretRef = w.target.Spec.Repository.AdminCredentialsSecretRef
				w.host, w.target, w.job.Spec.HostRef.Name = w.sharing[0], w.sharing[0], "old"
			}}, want: "NotTheExecutor", says: "hostRef: vault and targetRef: web-1"},
		{name: "it may when the machine itself is the executor", kind: prune, changes: []func(*world){bound, maintainedBy("m", "web-1", "web-1")}, want: "admin " + adminURL},
		{name: "or when the one that names an executor is being deleted", kind: prune,
			changes: []func(*world){bound, maintainedBy("m", "web-1", "vault", beingDeleted)}, want: "admin " + adminURL},
		{name: "or is for other hosts", kind: prune, changes: []func(*world){bound, maintainedBy("m", "web-2", "vault")}, want: "admin " + adminURL},
		{name: "with an executor and no admin credentials the machine forgets with its own", kind: forget,
			changes: []func(*world){maintainedBy("m", "web-1", "vault")}, want: "repository rest:https://backup.example.com/web-1"},
		{name: "with an executor the machine still checks with its own", kind: check,
			changes: []func(*world){bound, maintainedBy("m", "web-1", "vault")}, want: "repository rest:https://backup.example.com/web-1"},

		{name: "the executor forgets with admin credentials", kind: forget, changes: []func(*world){bound, byVault, maintainedBy("m", "web-1", "vault")}, want: "admin " + adminURL},
		{name: "and prunes", kind: prune, changes: []func(*world){bound, byVault, maintainedBy("m", "web-1", "vault")}, want: "admin " + adminURL},
		{name: "and checks", kind: check, changes: []func(*world){bound, byVault, maintainedBy("m", "web-1", "vault")}, want: "admin " + adminURL},
		{name: "and unlocks with the ordinary ones, which suffice", kind: unlock, changes: []func(*world){bound, byVault, maintainedBy("m", "web-1", "vault")}, want: "target rest:https://backup.example.com/web-1"},
		{name: "without admin credentials it forgets with the target's ordinary ones", kind: forget, changes: []func(*world){byVault, maintainedBy("m", "web-1", "vault")}, want: "target rest:https://backup.example.com/web-1"},
		{name: "and checks", kind: check, changes: []func(*world){byVault, maintainedBy("m", "web-1", "vault")}, want: "target rest:https://backup.example.com/web-1"},
		{name: "and does not prune", kind: prune, changes: []func(*world){byVault, maintainedBy("m", "web-1", "vault")}, want: "NoAdminCredentials"},

		{name: "to a path on the machine it has to be told another way", kind: check, changes: []func(*world){byVault, onItsDisk, maintainedBy("m", "web-1", "vault")},
			want: "Invalid", says: `the repository of Host "web-1" is a path on that machine`},
		{name: "with admin credentials too", kind: forget, changes: []func(*world){bound, byVault, onItsDisk, maintainedBy("m", "web-1", "vault"), noAdminURL},
			want: "Invalid", says: "RESTIC_REPOSITORY", read: true},
		{name: "which the admin Secret may say", kind: forget, changes: []func(*world){bound, byVault, onItsDisk, maintainedBy("m", "web-1", "vault")}, want: "admin " + adminURL},

		{name: "a Host that no RepoMaintenance names gets nobody's credentials", kind: forget, changes: []func(*world){bound, byVault}, want: "NotTheExecutor", says: "or create the HostJob with hostRef: web-1 alone"},
		{name: "nor to unlock", kind: unlock, changes: []func(*world){byVault}, want: "NotTheExecutor"},
		{name: "nor one that is named for other hosts", kind: check, changes: []func(*world){byVault, maintainedBy("m", "web-2", "vault")}, want: "NotTheExecutor"},
		{name: "nor one beside which another is named", kind: check, changes: []func(*world){byVault, maintainedBy("m", "web-1", "safe")}, want: "NotTheExecutor", says: `names Host "safe"`},
		{name: "nor one that a younger RepoMaintenance names", kind: check,
			changes: []func(*world){byVault, maintainedBy("m", "web-1", "vault"), maintainedBy("old", "web-1", "safe", olderBy(time.Hour))}, want: "NotTheExecutor"},
		{name: "nor one that an invalid RepoMaintenance names", kind: check, changes: []func(*world){byVault, maintainedBy("m", "web-1", "vault", notValid)}, want: "NotTheExecutor"},
		{name: "nor one that merely names the same repository as its own", kind: forget, changes: []func(*world){bound, byVault, func(w *world) {
			w.vault.Spec.Repository.URL = w.target.Spec.Repository.URL
			w.sharing = []*v1alpha1.Host{w.target, w.vault}
		}}, want: "NotTheExecutor"},
		{name: "a job that was created a moment ago waits for a RepoMaintenance that may have come with it", kind: forget, changes: []func(*world){bound, byVault, func(w *world) {
			w.now = created.Add(time.Second)
		}}, want: "waits NotTheExecutor"},
		{name: "no other kind works on another machine's repository", kind: v1alpha1.HostJobInit, changes: []func(*world){byVault, maintainedBy("m", "web-1", "vault")}, want: "Invalid", says: "spec.targetRef"},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newWorld(t, test.kind, test.changes...)
			command, err := compileCommand(f)
			if err != nil {
				if got := refusal(err); got != test.want || !strings.Contains(err.Error(), test.says) {
					t.Errorf("%s: %v; want %s with %q", got, err, test.want, test.says)
				}
				if with, _ := accessOf(f); with != (access{}) && !test.read {
					t.Errorf("a Secret would be read all the same: %+v", with)
				}
				return
			}
			if got := command.Repository.Credential + " " + command.Repository.URL; got != test.want {
				t.Errorf("goes with %s, want %s", got, test.want)
			}
			if own := f.target.Spec.Repository.URL; command.Repository.URL != own && command.Repository.SameAs != own {
				t.Errorf("by another URL it is the same as %q, want %q", command.Repository.SameAs, own)
			}
		})
	}
}

// refusal is the reason of an error; one that is not final waits.
func refusal(err error) string {
	var conditions []metav1.Condition
	status.For(&conditions, 1, fixedClock{created}).Ready(err, "", "")
	reason := conditions[0].Reason
	if !status.IsStalled(err) {
		return "waits " + reason
	}
	return reason
}

func TestCommandOfAnExecutor(t *testing.T) {
	f := newWorld(t, v1alpha1.HostJobForget, bound, byVault, maintainedBy("m", "web-1", "vault"), sharedWith("old"))
	got, err := compileCommand(f)
	if err != nil {
		t.Fatal(err)
	}
	daily := wire.Retention{KeepDaily: 7}
	want := &wire.JobCommand{
		Label:                 wire.JobCommandLabel,
		Host:                  wire.HostRef{Namespace: "shop", Name: "vault"},
		IdentityHash:          testIdentity.Hash(),
		Name:                  "now",
		UID:                   "uid-of-now",
		NotAfter:              created.Add(time.Hour),
		ActiveDeadlineSeconds: 60,
		Kind:                  wire.JobForget,
		ResticHost:            "vault.shop",
		TargetHost:            "web-1",
		Repository:            wire.Repository{URL: adminURL, SameAs: "rest:https://backup.example.com/web-1", CABundle: "PEM", Credential: wire.CredentialAdmin},
		Forget: &wire.Forget{Groups: []wire.ForgetGroup{
			{Name: "etc", Host: "old", ResticHost: "old.shop", Tag: "configuration", Retention: daily},
			{Name: "etc", Host: "web-1", ResticHost: "web-1.shop", Tag: "configuration", Retention: daily},
		}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("command (-want +got):\n%s", diff)
	}
}

func TestOptionsOfMaintenance(t *testing.T) {
	for _, test := range []struct {
		name   string
		kind   v1alpha1.HostJobKind
		change func(*world)
		want   func(*wire.JobCommand) any
		is     any
	}{
		{"a prune by restic's own default", v1alpha1.HostJobPrune, func(*world) {}, func(c *wire.JobCommand) any { return c.Prune }, &wire.Prune{}},
		{"a prune with bounds", v1alpha1.HostJobPrune, func(w *world) { w.job.Spec.Prune = &v1alpha1.PruneOptions{MaxUnused: "10%", MaxRepackSize: "5G"} },
			func(c *wire.JobCommand) any { return c.Prune }, &wire.Prune{MaxUnused: "10%", MaxRepackSize: "5G"}},
		{"a check of the structure", v1alpha1.HostJobCheck, func(*world) {}, func(c *wire.JobCommand) any { return c.Check }, &wire.Check{}},
		{"a check that reads data", v1alpha1.HostJobCheck, func(w *world) { w.job.Spec.Check = &v1alpha1.CheckJob{ReadDataSubset: "3/12"} },
			func(c *wire.JobCommand) any { return c.Check }, &wire.Check{ReadDataSubset: "3/12"}},
		{"a drill of every group", v1alpha1.HostJobVerify, func(*world) {}, func(c *wire.JobCommand) any { return c.Verify },
			&wire.Verify{Sample: 20, Groups: []wire.VerifyGroup{{Name: "etc", ResticHost: "web-1.shop", Tag: "configuration"}}}},
		{"a drill with a sample of its own", v1alpha1.HostJobVerify, func(w *world) { w.job.Spec.Verify = &v1alpha1.VerifyJob{Sample: 3} }, func(c *wire.JobCommand) any { return c.Verify },
			&wire.Verify{Sample: 3, Groups: []wire.VerifyGroup{{Name: "etc", ResticHost: "web-1.shop", Tag: "configuration"}}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			command, err := compileCommand(newWorld(t, test.kind, bound, test.change))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.is, test.want(command)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestNothingToDo(t *testing.T) {
	named := func(name string) func(*world) {
		return func(w *world) {
			if w.job.Spec.Kind == v1alpha1.HostJobVerify {
				w.job.Spec.Verify = &v1alpha1.VerifyJob{SourceGroup: name}
			} else {
				w.job.Spec.Forget = &v1alpha1.ForgetJob{SourceGroup: name}
			}
			for i := range w.groups {
				if w.groups[i].Name == name {
					w.group = &w.groups[i]
				}
			}
		}
	}
	keepAll := func(w *world) { w.groups[0].Spec.Retention = nil }
	empty := func(w *world) { w.groups[0].Spec.Retention = &v1alpha1.Retention{} }
	others := func(w *world) {
		w.groups[0].Spec.HostSelector.MatchLabels = map[string]string{"role": "db"}
	}
	for _, test := range []struct {
		name    string
		kind    v1alpha1.HostJobKind
		changes []func(*world)
		want    string
		says    string
	}{
		{"no group has a retention", v1alpha1.HostJobForget, []func(*world){keepAll}, "NothingToDo", `in the repository of Host "web-1"`},
		{"no group is there", v1alpha1.HostJobForget, []func(*world){func(w *world) { w.groups = nil }}, "NothingToDo", "say in a SourceGroup what to keep"},
		{"the only retention is empty", v1alpha1.HostJobForget, []func(*world){empty}, "NothingToDo", "SourceGroup etc: spec.retention: no rule"},
		{"the group that is asked for has no retention", v1alpha1.HostJobForget, []func(*world){keepAll, named("etc")}, "NothingToDo", `SourceGroup "etc" has no spec.retention`},
		{"the group that is asked for is for no host of the repository", v1alpha1.HostJobForget, []func(*world){others, named("etc")}, "NothingToDo", "is for no Host of this repository"},
		{"the group that is asked for does not exist yet", v1alpha1.HostJobForget, []func(*world){named("gone")}, "waits SourceGroupNotFound", `spec.forget.sourceGroup: there is no SourceGroup "gone"`},
		{"no group is for the host", v1alpha1.HostJobVerify, []func(*world){others}, "NothingToDo", "no snapshots to restore from"},
		{"the group to restore from is for others", v1alpha1.HostJobVerify, []func(*world){others, named("etc")}, "NothingToDo", "spec.verify.sourceGroup"},
		{"the group to restore from does not exist yet", v1alpha1.HostJobVerify, []func(*world){named("gone")}, "waits SourceGroupNotFound", "spec.verify.sourceGroup"},
	} {
		t.Run(test.name, func(t *testing.T) {
			command, err := compileCommand(newWorld(t, test.kind, test.changes...))
			if err == nil {
				t.Fatalf("got %+v", command)
			}
			if got := refusal(err); got != test.want || !strings.Contains(err.Error(), test.says) {
				t.Errorf("%s: %v; want %s with %q", got, err, test.want, test.says)
			}
		})
	}
}

func TestAJobWaitsForTheHostWhoseRepositoryItIsOn(t *testing.T) {
	f := newWorld(t, v1alpha1.HostJobForget, byVault, maintainedBy("m", "web-1", "vault"))
	f.target = nil
	d := decide(f)
	if d.phase != v1alpha1.JobPending || d.command != nil || !strings.Contains(d.message, `spec.targetRef: there is no Host "web-1"`) {
		t.Errorf("phase %s, command %v: %s", d.phase, d.command, d.message)
	}
}

func TestAJobWaitsForItsSecretAndLooksAgain(t *testing.T) {
	f := newWorld(t, v1alpha1.HostJobPrune, bound)
	f.credential.err = status.Waiting(v1alpha1.ReasonCredentialsMissing, missingSecretDelay, "no such Secret")
	d := decide(f)
	if d.phase != v1alpha1.JobPending || d.command != nil || !d.again.Equal(f.now.Add(missingSecretDelay)) {
		t.Errorf("phase %s, command %v, again %s: %s", d.phase, d.command, d.again, d.message)
	}
	f.credential = nil
	if d := decide(f); d.command != nil {
		t.Error("a command without the credentials that it names")
	}
}
