package gitops

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/cel-go/cel"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/test/env"
)

const guide = "docs/guides/gitops.md"

// filename is the first line of a block that is a file of the repository.
var filename = regexp.MustCompile(`^# ((?:base|teams|clusters)/\S+)\n`)

// guideFiles are the files that the guide shows, by their path.
func guideFiles(t *testing.T) map[string]string {
	t.Helper()
	files := map[string]string{}
	text := readPages(t)[guide]
	for _, language := range []string{"yaml", ""} {
		for _, block := range blocks(text, language) {
			if match := filename.FindStringSubmatch(block); match != nil {
				files[match[1]] = block
			}
		}
	}
	return files
}

// checkout writes the guide's repository, with hosts.yaml as the guide's script makes it.
func checkout(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	files := guideFiles(t)
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, block := range blocks(readPages(t)[guide], "sh") {
		if !strings.HasPrefix(block, "# hosts.sh ") {
			continue
		}
		script := exec.CommandContext(t.Context(), "sh", "-euc", block)
		script.Stdin = strings.NewReader(files["teams/shop/inventory.txt"])
		out, err := script.Output()
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "teams/shop/hosts.yaml"), out, 0o644); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	t.Fatalf("%s has no script that makes hosts.yaml", guide)
	return ""
}

// The repository of the guide is applied as its deployer, who has the three roles in the namespace and nothing else.
func TestTheRepositoryOfTheGuideBecomesCurrent(t *testing.T) {
	o := startOperator(t)
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}}
	if err := o.admin.Create(t.Context(), namespace); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = o.admin.Delete(context.Background(), namespace) })
	s := &space{t: t, cp: o.cp, admin: o.admin, clock: o.clock, namespace: namespace.Name}
	s.create(&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "deployer"}})
	for _, role := range []string{"restic-manager-view", "restic-manager-edit", "restic-manager-admin"} {
		s.create(&rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: role}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
			Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: namespace.Name, Name: "deployer"}},
		})
	}
	_, kubeconfig, err := o.cp.ServiceAccountConfig(t.Context(), namespace.Name, "deployer")
	if err != nil {
		t.Fatal(err)
	}
	apply := func(ctx context.Context) error {
		_, err := o.cp.KubectlAs(ctx, kubeconfig, "apply", "--server-side", "--force-conflicts", "--validate=strict", "--field-manager=kustomize-controller", "-k", filepath.Join(checkout(t), "teams/shop"))
		return err
	}
	env.Eventually(t, patience, "the repository is applied", apply)
	if out, err := o.cp.KubectlAs(t.Context(), kubeconfig, "-n", namespace.Name, "get", "secrets"); err == nil {
		t.Errorf("the deployer may read Secrets: %s", out)
	}
	for object, ready := range map[client.Object]string{
		newHost("web-1"): "True Accepted", newHost("web-2"): "True Accepted", newHost("db-1"): "True Accepted",
		newGroup("system"): "True Accepted", newGroup("web"): "True Accepted", newSchedule("nightly"): "True Accepted", newMaintenance("all"): "True Accepted",
	} {
		expectVerdict(t, s.until(object.GetName()+" is accepted", object, told{"Ready": ready, "Stalled": ""}), status.CurrentStatus)
	}

	schedule, group, host := &v1alpha1.Schedule{}, &v1alpha1.SourceGroup{}, &v1alpha1.Host{}
	fetch(s, "nightly", schedule)
	fetch(s, "web", group)
	fetch(s, "db-1", host)
	if schedule.Spec.TimeZone != "America/New_York" || group.Status.HostsMatched != 2 || host.Annotations["kustomize.toolkit.fluxcd.io/prune"] != "disabled" {
		t.Errorf("time zone %s, %d hosts in the group web, annotations %v", schedule.Spec.TimeZone, group.Status.HostsMatched, host.Annotations)
	}
	keys := s.enrol("web-1")
	if err := apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	if fetch(s, "web-1", host); host.Spec.Identity == nil || *host.Spec.Identity != *keys {
		t.Errorf("the next sync took the identity away: %v", host.Spec.Identity)
	}
}

// What the guide says of other tools' objects must at least be YAML, and about the files that are there.
func TestTheGuidesOtherFilesParse(t *testing.T) {
	files := guideFiles(t)
	var got []string
	for name, text := range files {
		if !strings.HasPrefix(name, "clusters/") {
			continue
		}
		for document := range strings.SplitSeq(text, "\n---\n") {
			var object struct {
				Kind string
				Spec struct{ Path string }
			}
			if err := yaml.Unmarshal([]byte(document), &object); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if path := strings.TrimPrefix(object.Spec.Path, "./"); path != "" && files[path+"/kustomization.yaml"] == "" {
				t.Errorf("%s is about %s, which the guide does not have", name, object.Spec.Path)
			}
			got = append(got, object.Kind)
		}
	}
	if len(got) != 3 {
		t.Errorf("the guide has %v, expected a Kustomization, an ApplicationSet and an AppProject", got)
	}
}

// healthCheck is one of Flux's healthCheckExprs.
type healthCheck struct {
	Kind, InProgress, Failed, Current string
}

// verdict is Flux's: the first expression that holds decides, and nothing is in progress.
func (h healthCheck) verdict(t *testing.T, u *unstructured.Unstructured) status.Status {
	t.Helper()
	environment, err := cel.NewEnv(cel.Variable("metadata", cel.DynType), cel.Variable("spec", cel.DynType), cel.Variable("status", cel.DynType))
	if err != nil {
		t.Fatal(err)
	}
	for _, rule := range []struct {
		expression string
		says       status.Status
	}{{h.InProgress, status.InProgressStatus}, {h.Failed, status.FailedStatus}, {h.Current, status.CurrentStatus}} {
		ast, issues := environment.Compile(rule.expression)
		if issues.Err() != nil {
			t.Fatalf("%s: %v", rule.expression, issues.Err())
		}
		program, err := environment.Program(ast)
		if err != nil {
			t.Fatal(err)
		}
		value, _, err := program.Eval(u.Object)
		if err != nil {
			t.Fatalf("%s: %v", rule.expression, err)
		}
		if value.Value() == true {
			return rule.says
		}
	}
	return status.InProgressStatus
}

func TestTheHealthCheckOfTheGuideWaitsForTheMachine(t *testing.T) {
	var checks []healthCheck
	for _, block := range blocks(readPages(t)[guide], "yaml") {
		var part struct{ HealthCheckExprs []healthCheck }
		if strings.Contains(block, "healthCheckExprs:") {
			if err := yaml.Unmarshal([]byte(block), &part); err != nil {
				t.Fatal(err)
			}
			checks = part.HealthCheckExprs
		}
	}
	if len(checks) != 1 || checks[0].Kind != "Host" {
		t.Fatalf("the guide has %+v", checks)
	}
	cp := installed(t)
	namespace := cp.NewNamespace(t, "gitops")
	s := &space{t: t, cp: cp, admin: adminClient(t, cp), namespace: namespace}
	s.create(newHost("web-1", enrolled(t)), newHost("web-2", func(h *v1alpha1.Host) { h.Spec.Repository.URL = "s3:https://s3.example.com/web-2" }))
	expect := func(what, name string, want status.Status) {
		t.Helper()
		u, err := s.object(t.Context(), "Host", name)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, checks[0].verdict(t, u)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	expect("nobody looked at it", "web-1", status.InProgressStatus)
	o := startOperator(t)
	s.clock = o.clock
	s.until("it is published", newHost("web-1"), told{"ScheduleSetApplied": "False Pending"})
	expect("its machine has not taken its set", "web-1", status.InProgressStatus)
	s.until("the other one has failed", newHost("web-2"), told{"Stalled": "True CredentialsMissing"})
	expect("it cannot work", "web-2", status.FailedStatus)
	s.connect("web-1")
	s.until("it is applied", newHost("web-1"), told{"ScheduleSetApplied": "True Applied"})
	expect("its machine runs its set", "web-1", status.CurrentStatus)
}
