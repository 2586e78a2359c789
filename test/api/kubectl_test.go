package api

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func TestTwoPeopleApplyTheirPartsOfAnObject(t *testing.T) {
	cp := installed(t)
	namespace := cp.NewNamespace(t, "merge")
	apply := func(manager, manifest string) (string, error) {
		return cp.KubectlInput(t.Context(), cp.AdminKubeconfig, manifest, "-n", namespace, "apply", "--server-side", "--field-manager="+manager, "-o", "json", "-f", "-")
	}
	groups := func(out string) []string {
		t.Helper()
		var s struct {
			Spec struct{ SourceGroups []string }
		}
		if err := json.Unmarshal([]byte(out), &s); err != nil {
			t.Fatal(err)
		}
		return slices.Sorted(slices.Values(s.Spec.SourceGroups))
	}
	steps := []struct {
		manager, manifest string
		want              []string
	}{
		{"platform", schedule, []string{"etc"}},
		// sourceGroups is a set: each owns his own entries.
		{"shop", "apiVersion: backup.restic-manager.io/v1alpha1\nkind: Schedule\nmetadata: {name: nightly}\nspec: {cron: '30 2 * * *', sourceGroups: [home]}", []string{"etc", "home"}},
		{"platform", strings.Replace(schedule, "[etc]", "[srv]", 1), []string{"home", "srv"}},
	}
	for _, step := range steps {
		out, err := apply(step.manager, step.manifest)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(step.want, groups(out)); diff != "" {
			t.Errorf("after %s applied (-want +got):\n%s", step.manager, diff)
		}
	}
	// includes belong together: who wants to change them must take them over.
	if _, err := apply("platform", sourceGroup); err != nil {
		t.Fatal(err)
	}
	if _, err := apply("shop", strings.Replace(sourceGroup, "[/etc]", "[/home]", 1)); err == nil || !strings.Contains(err.Error(), ".spec.includes") {
		t.Errorf("got %v, expected a conflict about .spec.includes", err)
	}
}

func TestKubectlExplainsEachKindAndField(t *testing.T) {
	cp := installed(t)
	for _, test := range []struct{ path, want string }{
		{"host", "Host is one machine outside the cluster"},
		{"host.spec.repository.credentialsSecretRef", "backup.restic-manager.io/credentials"},
		{"host.spec.identity", "hosts/identity"},
		{"sourcegroup.spec.includes", "absolute paths"},
		{"sourcegroup.spec.retention.keepWithin", "restic duration"},
		{"schedule.spec.cron", "five fields"},
		{"schedule.spec.jitter", "same host always gets the same part"},
		{"host.spec.hooks", "outside those of its SourceGroup"},
		{"host.spec.repository.adminCredentialsSecretRef", "prune is never begun without it"},
		{"host.spec.bandwidth.windows", "by the time of day"},
		{"sourcegroup.spec.command", "sourcegroups/hooks"},
		{"repomaintenance", "At most one operation runs on a repository at a time"},
		{"repomaintenance.spec.executorRef", "a trusted Host"},
		{"hostjob.spec.targetRef", "executorRef"},
		{"hostjob.spec.startingDeadlineSeconds", "an offline host does not get it for ever"},
		{"hostjob.status.phase", "Written by the controllers while Pending, then by the gateway"},
		{"scheduleset", "Do not edit"},
	} {
		t.Run(test.path, func(t *testing.T) {
			out, err := cp.Kubectl(t.Context(), "explain", test.path)
			if err != nil {
				t.Fatal(err)
			}
			if text := strings.Join(strings.Fields(out), " "); !strings.Contains(text, test.want) {
				t.Errorf("kubectl explain %s does not say %q: %s", test.path, test.want, text)
			}
		})
	}
}

func TestColumnsAnswerTheFirstQuestion(t *testing.T) {
	cp := installed(t)
	namespace := cp.NewNamespace(t, "columns")
	c := admin(t, cp)
	for _, text := range []string{host, sourceGroup, schedule, repoMaintenance, backupJob, logQuery, scheduleSet} {
		if err := c.Create(t.Context(), object(t, namespace, text)); err != nil {
			t.Fatal(err)
		}
	}
	h := object(t, namespace, host)
	ago := func(days int) string {
		return time.Now().UTC().AddDate(0, 0, -days).Add(-time.Hour).Format(time.RFC3339)
	}
	status := client.RawPatch("application/merge-patch+json", []byte(`{"status":{"lastSuccessTime":"`+ago(2)+`","oldestSuccessTime":"`+ago(9)+`","conditions":[
		{"type":"RepositoryReady","status":"False","reason":"WrongPassword","message":"","lastTransitionTime":"2026-01-01T00:00:00Z"},
		{"type":"BackupsCurrent","status":"False","reason":"Overdue","message":"","lastTransitionTime":"2026-01-01T00:00:00Z"},
		{"type":"Ready","status":"True","reason":"Published","message":"","lastTransitionTime":"2026-01-01T00:00:00Z"},
		{"type":"Connected","status":"False","reason":"NeverConnected","message":"","lastTransitionTime":"2026-01-01T00:00:00Z"}]}}`))
	if err := c.Status().Patch(t.Context(), h, status); err != nil {
		t.Fatal(err)
	}
	for short, want := range map[string][]string{
		"rhost":  {"NAME READY CONNECTED APPLIED REPOSITORY BACKUPS OLDEST SUCCESS AGE", "web-1 True False WrongPassword Overdue 9d"},
		"rsg":    {"NAME READY HOSTS APPLIED SUCCEEDED FAILING NEVER RAN OVERDUE OLDEST SUCCESS AGE", "etc 0 0 0 0 0 0"},
		"rsched": {"NAME CRON TIME ZONE SUSPEND READY HOSTS APPLIED SUCCEEDED FAILING NEVER RAN OVERDUE OLDEST SUCCESS AGE", "nightly 30 2 * * * UTC 0 0 0 0 0 0"},
		"rmaint": {"NAME READY REPOSITORIES FAILING RUNNING FORGET PRUNE CHECK VERIFY AGE", "web-1 0 0 0 0 6 * * 0"},
		"rjob":   {"NAME HOST KIND PHASE PERCENT STARTED AGE", "web-1 Backup"},
		"rquery": {"NAME HOST KIND READY EXPIRES AGE", "web-1 Log"},
		"rset":   {"NAME REVISION APPLIED TOMBSTONE GATEWAY REFUSAL AGE", "web-1 r1"},
	} {
		t.Run(short, func(t *testing.T) {
			out, err := cp.Kubectl(t.Context(), "-n", namespace, "get", short)
			if err != nil {
				t.Fatal(err)
			}
			text := strings.Join(strings.Fields(out), " ")
			for _, part := range want {
				if !strings.Contains(text, part) {
					t.Errorf("kubectl get %s does not show %q: %s", short, part, text)
				}
			}
		})
	}
	wide, err := cp.Kubectl(t.Context(), "-n", namespace, "get", "rhost", "-o", "wide")
	if err != nil {
		t.Fatal(err)
	}
	if text := strings.Join(strings.Fields(wide), " "); !strings.Contains(text, "STATUS LAST SUCCESS NEXT RUN AGENT RESTIC") || !strings.Contains(text, " 2d") {
		t.Errorf("kubectl get hosts -o wide shows %s", text)
	}
	out, err := cp.Kubectl(t.Context(), "-n", namespace, "get", "restic", "-o", "name")
	if err != nil {
		t.Fatal(err)
	}
	if n := len(strings.Fields(out)); n != len(apiResources) {
		t.Errorf("kubectl get restic shows %d objects, expected one of each kind:\n%s", n, out)
	}
}
