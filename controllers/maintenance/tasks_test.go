package maintenance

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
)

func withAdmin(h *v1alpha1.Host) {
	h.Spec.Repository.AdminCredentialsSecretRef = &v1alpha1.LocalReference{Name: "admin"}
}
func suspendedHost(h *v1alpha1.Host) { h.Spec.Suspend = true }
func disconnected(h *v1alpha1.Host) {
	h.Status.Conditions[0].Status, h.Status.Conditions[0].Reason = "False", v1alpha1.ReasonDisconnected
}
func neverConnected(h *v1alpha1.Host) {
	h.Status.Conditions[0].Status, h.Status.Conditions[0].Reason = "False", v1alpha1.ReasonNeverConnected
}
func withoutBackup(h *v1alpha1.Host) { h.Status.LastSuccessTime = nil }

func all(m *v1alpha1.RepoMaintenance) {
	m.Spec.Prune = &v1alpha1.PruneCadence{Cadence: v1alpha1.Cadence{Cron: "@daily"}}
	m.Spec.Check = &v1alpha1.CheckCadence{Cadence: v1alpha1.Cadence{Cron: "@daily"}}
	m.Spec.Verify = &v1alpha1.VerifyCadence{Cadence: v1alpha1.Cadence{Cron: "@daily"}}
}

func executedBy(name string) func(*v1alpha1.RepoMaintenance) {
	return func(m *v1alpha1.RepoMaintenance) { m.Spec.ExecutorRef = &v1alpha1.LocalReference{Name: name} }
}

func testGroup(edits ...func(*v1alpha1.SourceGroup)) v1alpha1.SourceGroup {
	g := v1alpha1.SourceGroup{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "etc"}}
	g.Spec.HostSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"role": "web"}}
	g.Spec.Includes = []string{"/etc"}
	g.Spec.Retention = &v1alpha1.Retention{KeepDaily: 7}
	for _, edit := range edits {
		edit(&g)
	}
	return g
}

func repository(hosts []*v1alpha1.Host, maintenances ...v1alpha1.RepoMaintenance) *Repository {
	return &Repository{Hosts: hosts, Maintenances: NewIndex(maintenances), Groups: []v1alpha1.SourceGroup{testGroup()}}
}

func list[T any](items ...T) []T { return items }

// assigned says of each task who does it, or why nobody does.
func assigned(tasks []Task) string {
	var words []string
	for _, t := range tasks {
		what := strings.TrimSpace(string(t.Operation) + " " + t.Host)
		switch {
		case t.Cadence == nil:
			what += " not asked for"
		case t.Hold != "":
			what += " held: " + string(t.Hold)
		case t.Executor == nil:
			what += " waits"
		case t.Executor == t.Target:
			what += " by " + t.Executor.Name
		default:
			what += fmt.Sprintf(" by %s for %s", t.Executor.Name, t.Target.Name)
		}
		if t.NothingToDo != nil && t.NothingToDo() {
			what += " (nothing to do)"
		}
		words = append(words, what)
	}
	return strings.Join(words, "; ")
}

func TestWhoDoesWhat(t *testing.T) {
	nas := testHost("nas")
	for _, test := range []struct {
		name       string
		repository *Repository
		executor   *v1alpha1.Host
		want       string
	}{
		{"a host with admin credentials does everything itself", repository(list(testHost("web-1", withAdmin)), forHost("a", "web-1", all)), nil,
			"forget by web-1; prune by web-1; check by web-1; verify web-1 by web-1"},
		{"without admin credentials prune is held, and nothing else", repository(list(testHost("web-1")), forHost("a", "web-1", all)), nil,
			"forget by web-1; prune held: NoAdminCredentials; check by web-1; verify web-1 by web-1"},
		{"what is not in the RepoMaintenance is not asked for", repository(list(testHost("web-1")), forHost("a", "web-1")), nil,
			"forget by web-1; prune not asked for; check not asked for; verify web-1 not asked for"},
		{"without a RepoMaintenance nothing is asked for", repository(list(testHost("web-1"))), nil,
			"forget not asked for; prune not asked for; check not asked for; verify web-1 not asked for"},
		{"a suspended one holds everything", repository(list(testHost("web-1")), forHost("a", "web-1", all, suspended)), nil,
			"forget held: Suspended; prune held: Suspended; check held: Suspended; verify web-1 held: Suspended"},
		{"a suspended operation is held", repository(list(testHost("web-1")), forHost("a", "web-1", func(m *v1alpha1.RepoMaintenance) { m.Spec.Forget.Suspend = true })), nil,
			"forget held: Suspended; prune not asked for; check not asked for; verify web-1 not asked for"},
		{"a suspended host holds its own", repository(list(testHost("web-1", suspendedHost)), forHost("a", "web-1", all)), nil,
			"forget held: HostSuspended; prune held: HostSuspended; check held: HostSuspended; verify web-1 held: HostSuspended"},
		{"a machine that is offline is waited for", repository(list(testHost("web-1", withAdmin, disconnected)), forHost("a", "web-1", all)), nil,
			"forget waits; prune waits; check waits; verify web-1 waits"},
		{"before its first session there is no repository", repository(list(testHost("web-1", neverConnected)), forHost("a", "web-1", all)), nil,
			"forget held: NeverConnected; prune held: NeverConnected; check held: NeverConnected; verify web-1 held: NeverConnected"},
		{"without a backup there is nothing to verify", repository(list(testHost("web-1", withAdmin, withoutBackup)), forHost("a", "web-1", all)), nil,
			"forget by web-1; prune by web-1; check by web-1; verify web-1 by web-1 (nothing to do)"},
		{"without a retention there is nothing to forget", &Repository{Hosts: list(testHost("web-1")), Maintenances: NewIndex(list(forHost("a", "web-1"))),
			Groups: list(testGroup(func(g *v1alpha1.SourceGroup) { g.Spec.Retention = nil }))}, nil,
			"forget by web-1 (nothing to do); prune not asked for; check not asked for; verify web-1 not asked for"},

		{"of hosts that share a repository the first that is connected does it, once for all; each verifies for itself", repository(
			list(testHost("web-1", sharedURL, disconnected), testHost("web-3", sharedURL), testHost("web-2", sharedURL)), forHost("a", "", forRole("web"), all)), nil,
			"forget by web-2; prune held: NoAdminCredentials; check by web-2; verify web-1 waits; verify web-3 by web-3; verify web-2 by web-2"},
		{"forget and prune go to one with admin credentials", repository(list(testHost("web-1", sharedURL), testHost("web-2", sharedURL, withAdmin)), forHost("a", "", forRole("web"), all)), nil,
			"forget by web-2; prune by web-2; check by web-1; verify web-1 by web-1; verify web-2 by web-2"},
		{"a suspended host is not chosen", repository(list(testHost("web-1", sharedURL, suspendedHost), testHost("web-2", sharedURL)), forHost("a", "", forRole("web"))), nil,
			"forget by web-2; prune not asked for; check not asked for; verify web-1 not asked for; verify web-2 not asked for"},
		{"a host that another RepoMaintenance leaves to an executor is not chosen", repository(list(testHost("web-1", sharedURL), testHost("web-2", sharedURL)),
			forHost("b", "web-1"), forHost("c", "web-2", older, invalid, executedBy("nas")), forHost("d", "web-2"), forHost("e", "web-1", older, invalid)), nil,
			"forget by web-1; prune not asked for; check not asked for; verify web-1 not asked for; verify web-2 not asked for"},
		{"nor one that an invalid RepoMaintenance leaves to an executor", repository(list(testHost("web-1")), forHost("b", "web-1"), forHost("a", "web-1", invalid, executedBy("nas"))), nil,
			"forget held: ExecutorElsewhere; prune not asked for; check not asked for; verify web-1 not asked for"},

		{"an executor does it for the host, which verifies itself", repository(list(testHost("web-1", withAdmin)), forHost("a", "web-1", all, executedBy("nas"))), nas,
			"forget by nas for web-1; prune by nas for web-1; check by nas for web-1; verify web-1 by web-1"},
		{"it does so while the machine is offline", repository(list(testHost("web-1", withAdmin, disconnected)), forHost("a", "web-1", all, executedBy("nas"))), nas,
			"forget by nas for web-1; prune by nas for web-1; check by nas for web-1; verify web-1 waits"},
		{"an executor that is offline is waited for", repository(list(testHost("web-1", withAdmin)), forHost("a", "web-1", all, executedBy("nas"))), testHost("nas", disconnected),
			"forget waits; prune waits; check waits; verify web-1 by web-1"},
		{"an executor that does not exist holds what it would do", repository(list(testHost("web-1", withAdmin)), forHost("a", "web-1", all, executedBy("nas"))), nil,
			"forget held: ExecutorNotFound; prune held: ExecutorNotFound; check held: ExecutorNotFound; verify web-1 by web-1"},
		{"a suspended executor does nothing", repository(list(testHost("web-1", withAdmin)), forHost("a", "web-1", all, executedBy("nas"))), testHost("nas", suspendedHost),
			"forget held: HostSuspended; prune held: HostSuspended; check held: HostSuspended; verify web-1 by web-1"},
		{"the host through which the RepoMaintenance counts is the target", repository(list(testHost("web-1", sharedURL), testHost("web-2", sharedURL, withAdmin)),
			forHost("d", "web-1", byDefault), forHost("a", "web-2", all, executedBy("nas"))), nas,
			"forget by nas for web-2; prune by nas for web-2; check by nas for web-2; verify web-1 not asked for; verify web-2 by web-2"},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.repository.Executor = test.executor
			if got := assigned(test.repository.Tasks(noon)); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

func TestTasksAreForNoTimeBeforeTheObjectsWereMade(t *testing.T) {
	young := testHost("web-1", madeAt(noon.Add(-time.Hour)))
	r := repository(list(young), forHost("a", "web-1"))
	if since := r.Tasks(noon)[0].Since; !since.Equal(noon.Add(-time.Hour)) {
		t.Errorf("since %s, expected since the Host was made", since)
	}
	r = repository(list(testHost("web-1")), forHost("a", "web-1"))
	if since := r.Tasks(noon)[0].Since; !since.Equal(noon.AddDate(0, 0, -20)) {
		t.Errorf("since %s, expected since the RepoMaintenance was made", since)
	}
}

func TestJitterIsThatOfTheRepositoryInWholeSeconds(t *testing.T) {
	spread := func(m *v1alpha1.RepoMaintenance) { m.Spec.Jitter = &metav1.Duration{Duration: 6 * time.Hour} }
	of := func(hosts []*v1alpha1.Host, edits ...func(*v1alpha1.RepoMaintenance)) []time.Duration {
		var jitters []time.Duration
		for _, task := range repository(hosts, forHost("a", "", append(edits, forRole("web"), all)...)).Tasks(noon) {
			jitters = append(jitters, task.Jitter)
		}
		return jitters
	}
	one := of(list(testHost("web-1", sharedURL)), spread)
	if one[0] == 0 || one[0] >= 6*time.Hour || one[0]%time.Second != 0 || one[0] != one[1] || one[0] != one[2] {
		t.Errorf("%v, expected the same whole seconds below six hours for forget, prune and check", one)
	}
	both := of(list(testHost("web-1", sharedURL), testHost("web-2", sharedURL)), spread)
	if diff := cmp.Diff(one, both[:4]); diff != "" {
		t.Errorf("it changes when another host comes (-alone +together):\n%s", diff)
	}
	if both[3] == both[4] {
		t.Error("both machines verify at the same moment")
	}
	if none := of(list(testHost("web-1"))); none[0] != 0 {
		t.Errorf("without jitter it is %s", none[0])
	}
}
