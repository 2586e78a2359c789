package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/test/env"
	"github.com/restic-manager/restic-manager/test/stack"
)

// Not beside the others: for a moment the API server asks no webhook.
func TestABadScheduleIsToldAndTheRestWorks(t *testing.T) {
	w := newWorld(t, "bad-schedule")
	w.host("one")
	w.host("two")
	w.group("data", "one", w.files("one", "a"))
	w.group("elsewhere", "two", w.files("two", "a"))
	tests := []struct {
		name      string
		edit      func(*v1alpha1.ScheduleSpec)
		condition string
		contains  []string
	}{
		{"invalid-cron", func(s *v1alpha1.ScheduleSpec) { s.Cron = "61 * * * *" }, v1alpha1.ConditionReady, []string{v1alpha1.ReasonInvalid, "cron"}},
		{"zone-in-cron", func(s *v1alpha1.ScheduleSpec) { s.Cron = "TZ=UTC" }, v1alpha1.ConditionReady, []string{v1alpha1.ReasonInvalid, "timeZone"}},
		{"never-fires", func(s *v1alpha1.ScheduleSpec) { s.Cron = "0 0 31 2 *" }, v1alpha1.ConditionReady, []string{v1alpha1.ReasonInvalid, "never"}},
		{"unknown-zone", func(s *v1alpha1.ScheduleSpec) { s.TimeZone = "Europe/Zuerich" }, v1alpha1.ConditionReady, []string{v1alpha1.ReasonInvalid, "Europe/Zuerich"}},
		{"missing-group", func(s *v1alpha1.ScheduleSpec) { s.SourceGroups = []string{"data", "nowhere"} }, v1alpha1.ConditionSourceGroupsFound, []string{v1alpha1.ReasonSourceGroupNotFound, "nowhere"}},
		{"no-shared-host", func(s *v1alpha1.ScheduleSpec) {
			s.SourceGroups = []string{"data", "elsewhere"}
			s.HostSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"role": "one"}}
		}, v1alpha1.ConditionSourceGroupsFound, []string{v1alpha1.ReasonNoSharedHost, "elsewhere"}},
	}
	good := w.schedule("good", "0 3 * * *", "data")
	var invalid []client.Object
	for _, test := range tests {
		s := &v1alpha1.Schedule{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: test.name}, Spec: v1alpha1.ScheduleSpec{Cron: "0 3 * * *", SourceGroups: []string{"data"}}}
		test.edit(&s.Spec)
		switch err := w.Create(t.Context(), s.DeepCopy()); {
		case test.condition != v1alpha1.ConditionReady:
			w.must(err)
		case !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), test.contains[1]):
			t.Errorf("%s: the webhook says %v", test.name, err)
		default:
			invalid = append(invalid, s)
		}
	}
	// Without the webhook they are taken.
	w.must(stack.Unchecked(t.Context(), w.CP, w.Webhook, func() error {
		for _, s := range invalid {
			if err := w.Create(t.Context(), s); err != nil {
				return err
			}
		}
		return nil
	}))
	for _, test := range tests {
		s := &v1alpha1.Schedule{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: test.name}}
		w.condition(s, func() []metav1.Condition { return s.Status.Conditions }, test.condition, metav1.ConditionFalse, test.contains...)
	}
	w.agent("one")
	w.settled("one")
	w.applied(good)
	names := []string{}
	for _, s := range w.scheduleSet(t.Context(), "one").Spec.Schedules {
		names = append(names, s.Name)
	}
	if got, want := strings.Join(names, " "), "good missing-group no-shared-host"; got != want {
		t.Errorf("the machine runs %q, want %q: what is valid of them", got, want)
	}
}

func TestTroubleWithARepositoryIsNamed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "repository")
	port, err := env.FreePort()
	w.must(err)
	dead := "rest:https://127.0.0.1:" + itoa(port) + "/nobody"
	tests := []struct {
		host     string
		option   hostOption
		prepare  func(*v1alpha1.Host)
		status   metav1.ConditionStatus
		contains []string
	}{
		{"unreachable", func(h *v1alpha1.Host, _ *corev1.Secret) { h.Spec.Repository.URL = dead }, nil, metav1.ConditionFalse, []string{"etrying"}},
		{"wrong-password", func(_ *v1alpha1.Host, s *corev1.Secret) {
			s.StringData["RESTIC_PASSWORD"] = "not-the-one-it-was-made-with"
		},
			func(h *v1alpha1.Host) { w.restic(h, "another-password", "init") }, metav1.ConditionFalse, []string{"WrongPassword", "RESTIC_PASSWORD"}},
		{"wrong-user", func(_ *v1alpha1.Host, s *corev1.Secret) { s.StringData["RESTIC_REST_PASSWORD"] = "not-the-users" }, nil,
			metav1.ConditionFalse, []string{"Unauthorized"}},
		{"half-initialised", nil, func(h *v1alpha1.Host) {
			w.restic(h, "whatever", "init")
			w.must(os.Remove(filepath.Join(w.Rest.Data, h.Name+"."+w.ns, "config")))
		}, metav1.ConditionFalse, []string{"HalfInitialised"}},
	}
	for _, test := range tests {
		var host *v1alpha1.Host
		if test.option != nil {
			host = w.host(test.host, test.option)
		} else {
			host = w.host(test.host)
		}
		if test.prepare != nil {
			test.prepare(host)
		}
		w.agent(test.host)
	}
	for _, test := range tests {
		w.hostCondition(test.host, v1alpha1.ConditionRepositoryReady, test.status, test.contains...)
		w.hostCondition(test.host, v1alpha1.ConditionReady, metav1.ConditionTrue)
	}
}

// restic runs restic by hand on a host's repository, with a repository password of its own.
func (w *world) restic(host *v1alpha1.Host, password string, args ...string) string {
	w.Helper()
	out, err := w.resticCommand(host, password, args...).CombinedOutput()
	if err != nil {
		w.Fatalf("restic %v: %v: %s", args, err, out)
	}
	return string(out)
}

// resticCommand is plain restic on a host's repository, with the host's rights.
func (w *world) resticCommand(host *v1alpha1.Host, password string, args ...string) *exec.Cmd {
	w.Helper()
	binary, err := env.Binary("", env.Restic)
	w.must(err)
	var secret corev1.Secret
	w.must(w.Get(w.Context(), keyOf(w.ns, host.CredentialsSecretName()), &secret))
	command := exec.CommandContext(w.Context(), binary, append([]string{"--no-cache", "--retry-lock=1m", "--cacert", w.CA.CertFile}, args...)...)
	command.Env = []string{
		"RESTIC_REPOSITORY=" + host.Spec.Repository.URL, "RESTIC_PASSWORD=" + password,
		"RESTIC_REST_USERNAME=" + string(secret.Data["RESTIC_REST_USERNAME"]), "RESTIC_REST_PASSWORD=" + string(secret.Data["RESTIC_REST_PASSWORD"]),
	}
	return command
}

func TestAMissingPathIsToldWithBothVersionsOfRestic(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "missing-path")
	for host, component := range map[string]string{"new": env.Restic, "old": env.ResticOld} {
		binary, err := env.Binary("", component)
		w.must(err)
		w.host(host)
		gone := filepath.Join(w.files(host, "a"), "..", "gone")
		gone = filepath.Clean(gone)
		w.group(host+"-data", host, w.files(host, "a"), gone)
		w.startMachine(stack.Machine{Namespace: w.ns, Host: host, Restic: binary})
		w.settled(host)
		w.backup(host+"-now", host, host+"-data")
		job := w.phase(host+"-now", v1alpha1.JobCompletedWithErrors)
		if job.Status.Result.Backup.SnapshotID == "" || !strings.Contains(job.Status.Result.Message, gone) {
			t.Errorf("restic %s: result is %+v, want a snapshot and a message that names %s", host, job.Status.Result, gone)
		}
		w.result(host, host+"-data", "completed with errors", func(r v1alpha1.SourceGroupResult) bool { return r.Result == v1alpha1.ResultCompletedWithErrors })
		w.event(v1alpha1.EventBackupIncomplete, gone)
	}
}

func TestAnAgentYAMLThatIsNotYAMLIsNamed(t *testing.T) {
	t.Parallel()
	s, _ := theStack(t)
	path := filepath.Join(t.TempDir(), "agent.yaml")
	if err := os.WriteFile(path, []byte("host: {namespace: shop\n\tname"), 0o600); err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	command := exec.CommandContext(t.Context(), filepath.Join(s.BinDir, "restic-manager-agent"), "run", "--config="+path)
	command.Stderr = &stderr
	err := command.Run()
	if err == nil || !strings.Contains(stderr.String(), path) || !strings.Contains(stderr.String(), "line") {
		t.Errorf("run said %q (%v), want an error that names %s and the line", stderr.String(), err, path)
	}
}

func TestACredentialSecretThatCannotBeUsedIsNamed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "credentials")
	tests := map[string]struct {
		option   hostOption
		contains []string
	}{
		"missing":     {func(h *v1alpha1.Host, _ *corev1.Secret) { h.Spec.Repository.CredentialsSecretRef.Name = "nowhere" }, []string{v1alpha1.ReasonCredentialsMissing, "nowhere"}},
		"not-labeled": {func(_ *v1alpha1.Host, s *corev1.Secret) { s.Labels = nil }, []string{v1alpha1.ReasonCredentialsNotLabeled, v1alpha1.LabelCredentials}},
		"no-password": {func(_ *v1alpha1.Host, s *corev1.Secret) { delete(s.StringData, "RESTIC_PASSWORD") }, []string{v1alpha1.ReasonCredentialsInvalid, "RESTIC_PASSWORD"}},
		"runs-programs": {func(_ *v1alpha1.Host, s *corev1.Secret) { s.StringData["RESTIC_PASSWORD_COMMAND"] = "cat /etc/shadow" },
			[]string{v1alpha1.ReasonCredentialsInvalid, "RESTIC_PASSWORD_COMMAND"}},
	}
	for name, test := range tests {
		w.host(name, test.option)
	}
	for name, test := range tests {
		w.hostCondition(name, v1alpha1.ConditionReady, metav1.ConditionFalse, test.contains...)
	}
	// It heals by itself once the Secret is right.
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "not-labeled-repo"}}
	w.must(w.change(secret, func() { secret.Labels = map[string]string{v1alpha1.LabelCredentials: "true"} }))
	w.hostCondition("not-labeled", v1alpha1.ConditionReady, metav1.ConditionTrue)
}
