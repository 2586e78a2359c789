package host

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
)

func newMaintenance(name string, executor string) *v1alpha1.RepoMaintenance {
	m := &v1alpha1.RepoMaintenance{ObjectMeta: metav1.ObjectMeta{Name: name}}
	m.Spec.HostSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"role": "web"}}
	m.Spec.Forget = &v1alpha1.Cadence{Cron: "@daily"}
	if executor != "" {
		m.Spec.ExecutorRef = &v1alpha1.LocalReference{Name: executor}
	}
	return m
}

func TestAdminCredentialsAreFollowed(t *testing.T) {
	h := newHarness(t)
	h.create(newSecret(), newHost("web-1"))
	h.run("web-1")
	h.wantCondition("web-1", "AdminCredentialsReady", "absent")
	h.wantCondition("web-1", "AdminCredentialsExposed", "absent")

	change(h, h.host("web-1"), func(host *v1alpha1.Host) {
		host.Spec.Repository.AdminCredentialsSecretRef = &v1alpha1.LocalReference{Name: "admin"}
	})
	if result := h.run("web-1"); result.RequeueAfter != missingSecretDelay {
		t.Errorf("looks again after %s", result.RequeueAfter)
	}
	h.wantCondition("web-1", "AdminCredentialsReady", "False CredentialsMissing", `Secret "admin"`, "spec.repository.adminCredentialsSecretRef", "prune cannot run", v1alpha1.LabelCredentials)
	h.wantCondition("web-1", "AdminCredentialsExposed", "True NoExecutor", "no RepoMaintenance is in force", "spec.executorRef")
	h.wantCondition("web-1", "Ready", "True Accepted")

	admin := newSecret()
	admin.Name, admin.Labels = "admin", nil
	h.create(admin)
	h.run("web-1")
	h.wantCondition("web-1", "AdminCredentialsReady", "False CredentialsNotLabeled", "label secret admin backup.restic-manager.io/credentials=true")
	change(h, admin, func(s *corev1.Secret) { s.Labels = map[string]string{v1alpha1.LabelCredentials: "true"} })
	h.run("web-1")
	h.wantCondition("web-1", "AdminCredentialsReady", "True CredentialsFound")
	change(h, admin, func(s *corev1.Secret) {
		s.Data["RESTIC_REPOSITORY"] = []byte("rest:https://root:hunter2@admin.example.com/web-1")
	})
	h.run("web-1")
	h.wantCondition("web-1", "AdminCredentialsReady", "False CredentialsInvalid", "RESTIC_REPOSITORY")
	h.wantCondition("web-1", "Ready", "True Accepted")
	change(h, admin, func(s *corev1.Secret) { s.Data["RESTIC_REPOSITORY"] = []byte("rest:https://admin.example.com/web-1") })
	h.run("web-1")
	h.wantCondition("web-1", "AdminCredentialsReady", "True CredentialsFound")

	m := newMaintenance("web", "")
	h.create(m)
	h.run("web-1")
	h.wantCondition("web-1", "AdminCredentialsExposed", "True NoExecutor", "RepoMaintenance web names no executorRef", "whoever takes it over can then delete its backups")
	change(h, m, func(m *v1alpha1.RepoMaintenance) { m.Spec.ExecutorRef = &v1alpha1.LocalReference{Name: "vault"} })
	h.run("web-1")
	h.wantCondition("web-1", "AdminCredentialsExposed", "absent")

	t.Log("one that names the Host counts as well as one that selects it")
	named := newMaintenance("another", "")
	named.Spec.HostSelector, named.Spec.HostRef = nil, &v1alpha1.LocalReference{Name: "web-1"}
	h.create(named)
	change(h, m, func(m *v1alpha1.RepoMaintenance) { m.Spec.HostSelector.MatchLabels["role"] = "db" })
	h.run("web-1")
	h.wantCondition("web-1", "AdminCredentialsExposed", "True NoExecutor", "RepoMaintenance another")

	change(h, h.host("web-1"), func(host *v1alpha1.Host) { host.Spec.Repository.AdminCredentialsSecretRef = nil })
	h.run("web-1")
	h.wantCondition("web-1", "AdminCredentialsReady", "absent")
	h.wantCondition("web-1", "AdminCredentialsExposed", "absent")
}

func TestWhoGetsAdminCredentials(t *testing.T) {
	made := func(name string, hoursAgo int, url string) *v1alpha1.Host {
		h := newHost(name)
		h.Namespace, h.CreationTimestamp, h.Spec.Repository.URL = "shop", *at(-time.Duration(hoursAgo) * time.Hour), url
		return h
	}
	for1 := func(name, host, executor string, change ...func(*v1alpha1.RepoMaintenance)) v1alpha1.RepoMaintenance {
		m := newMaintenance(name, executor)
		m.Spec.HostSelector, m.Spec.HostRef = nil, &v1alpha1.LocalReference{Name: host}
		for _, c := range change {
			c(m)
		}
		return *m
	}
	byDefault := func(m *v1alpha1.RepoMaintenance) { m.Labels = map[string]string{v1alpha1.LabelDefault: "true"} }
	invalid := func(m *v1alpha1.RepoMaintenance) { m.Spec.Forget.Cron = "61 * * * *" }
	alone := []*v1alpha1.Host{made("web-1", 1, "rest:https://backup.example.com/1")}
	shared := []*v1alpha1.Host{made("old", 2, "rest:https://backup.example.com/1"), made("web-1", 1, "rest:https://backup.example.com/1")}
	tests := []struct {
		name    string
		sharing []*v1alpha1.Host
		all     []v1alpha1.RepoMaintenance
		inForce string
		trusted bool
	}{
		{"nobody said anything", alone, nil, "", false},
		{"the default names no executor", alone, []v1alpha1.RepoMaintenance{for1("d", "web-1", "", byDefault)}, "d", false},
		{"an executor elsewhere", alone, []v1alpha1.RepoMaintenance{for1("m", "web-1", "vault")}, "m", true},
		{"the machine itself, by name", alone, []v1alpha1.RepoMaintenance{for1("m", "web-1", "web-1")}, "m", true},
		{"an executor in one that is not valid: no job runs at all", alone, []v1alpha1.RepoMaintenance{for1("m", "web-1", "vault", invalid)}, "", true},
		{"an executor in one beside which another names none", alone, []v1alpha1.RepoMaintenance{for1("a", "web-1", ""), for1("b", "web-1", "vault")}, "b", true},
		{"an executor for the repository, through a Host that shares it", shared,
			[]v1alpha1.RepoMaintenance{for1("m", "old", "vault"), for1("d", "web-1", "", byDefault)}, "m", true},
		{"one that shares the repository names none", shared, []v1alpha1.RepoMaintenance{for1("m", "old", "")}, "m", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			host := tt.sharing[len(tt.sharing)-1]
			if inForce, trusted := executor(host, tt.sharing, tt.all); inForce != tt.inForce || trusted != tt.trusted {
				t.Errorf("%q, trusted %v; want %q, %v", inForce, trusted, tt.inForce, tt.trusted)
			}
		})
	}
}

// Another reconciler writes status.maintenance at any time.
func TestMaintenanceStatusIsLeftAlone(t *testing.T) {
	h := newHarness(t)
	h.create(newSecret(), newHost("web-1"))
	stale := h.host("web-1")
	ended := metav1.NewTime(h.clock.Now())
	changeStatus(h, h.host("web-1"), func(host *v1alpha1.Host) {
		host.Status.Maintenance = &v1alpha1.MaintenanceStatus{Check: &v1alpha1.OperationStatus{Result: v1alpha1.ResultSucceeded, FinishTime: &ended}}
	})
	f, err := h.gather(t.Context(), stale, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.conclude(t.Context(), stale, f, ctrl.Result{}, nil); err != nil {
		t.Fatal(err)
	}
	if m := h.host("web-1").Status.Maintenance; m == nil || m.Check == nil || m.Check.Result != v1alpha1.ResultSucceeded {
		t.Errorf("a reconciliation with a stale Host took status.maintenance away: %+v", m)
	}
	h.run("web-1")
	h.wantCondition("web-1", "RepositoryHealthy", "True CheckPassed")
}
