package env

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

func configMap(name string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}
}

func TestDeletedNamespaceGoesAwayWithItsContents(t *testing.T) {
	cp := Shared(t)
	client, name := cp.Client(), cp.NewNamespace(t, "deleted")
	if _, err := client.CoreV1().ConfigMaps(name).Create(t.Context(), configMap("content"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := client.CoreV1().Namespaces().Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	Eventually(t, time.Minute, "namespace "+name+" is gone", func(ctx context.Context) error {
		_, err := client.CoreV1().Namespaces().Get(ctx, name, getOptions)
		return expectNotFound(err)
	})
}

func TestOwnedObjectIsCollectedWithItsOwner(t *testing.T) {
	cp := Shared(t)
	configMaps := cp.Client().CoreV1().ConfigMaps(cp.NewNamespace(t, "owned"))
	owner, err := configMaps.Create(t.Context(), configMap("owner"), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	owned := configMap("owned")
	owned.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: owner.Name, UID: owner.UID}}
	if _, err := configMaps.Create(t.Context(), owned, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := configMaps.Delete(t.Context(), owner.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	Eventually(t, time.Minute, "the owned object is gone", func(ctx context.Context) error {
		_, err := configMaps.Get(ctx, owned.Name, getOptions)
		return expectNotFound(err)
	})
}

func TestClusterRolesAreAggregated(t *testing.T) {
	cp := Shared(t)
	roles := cp.Client().RbacV1().ClusterRoles()
	role := &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{
			Name:   "env-test-aggregated",
			Labels: map[string]string{"rbac.authorization.k8s.io/aggregate-to-view": "true"},
		},
		Rules: []rbacv1.PolicyRule{{APIGroups: []string{"env.test"}, Resources: []string{"things"}, Verbs: []string{"get"}}},
	}
	if _, err := roles.Create(t.Context(), role, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := roles.Delete(context.Background(), role.Name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	Eventually(t, time.Minute, "the rule is part of the role view", func(ctx context.Context) error {
		view, err := roles.Get(ctx, "view", getOptions)
		if err != nil {
			return err
		}
		for _, rule := range view.Rules {
			if len(rule.APIGroups) == 1 && rule.APIGroups[0] == "env.test" {
				return nil
			}
		}
		return errors.New("view has no rule for env.test")
	})
}

func TestServiceAccountHasOnlyItsRoles(t *testing.T) {
	cp := Shared(t)
	admin, namespace := cp.Client(), cp.NewNamespace(t, "rbac")
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "worker"}}
	if _, err := admin.CoreV1().ServiceAccounts(namespace).Create(t.Context(), account, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	config, kubeconfig, err := cp.ServiceAccountConfig(t.Context(), namespace, "worker")
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the kubeconfig has mode %v, expected 0600", info.Mode())
	}
	worker := kubernetes.NewForConfigOrDie(config)
	if _, err := worker.CoreV1().ConfigMaps(namespace).List(t.Context(), metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("listing without a role: %v, expected Forbidden", err)
	}
	if _, err := cp.Kubectl(t.Context(), "-n", namespace, "create", "role", "reader", "--verb=list", "--resource=configmaps"); err != nil {
		t.Fatal(err)
	}
	if _, err := cp.Kubectl(t.Context(), "-n", namespace, "create", "rolebinding", "reader", "--role=reader", "--serviceaccount="+namespace+":worker"); err != nil {
		t.Fatal(err)
	}
	Eventually(t, 30*time.Second, "the role is in effect", func(ctx context.Context) error {
		_, err := worker.CoreV1().ConfigMaps(namespace).List(ctx, metav1.ListOptions{})
		return err
	})
	if out, err := cp.KubectlAs(t.Context(), kubeconfig, "get", "configmaps"); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	if _, err := cp.KubectlAs(t.Context(), kubeconfig, "get", "secrets"); err == nil || !strings.Contains(err.Error(), "forbidden") {
		t.Errorf("kubectl get secrets: %v, expected a refusal", err)
	}
	if _, _, err := cp.ServiceAccountConfig(t.Context(), namespace, "missing"); err == nil || !strings.Contains(err.Error(), namespace+"/missing") {
		t.Errorf("got %v, expected an error that names the missing account", err)
	}
}

func TestAuditTellsWhoWroteWhat(t *testing.T) {
	cp := Shared(t)
	namespace := cp.NewNamespace(t, "audit")
	configMaps := cp.Client().CoreV1().ConfigMaps(namespace)
	mark, err := cp.AuditMark()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := configMaps.Create(t.Context(), configMap("counted"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := configMaps.Create(t.Context(), configMap("dry"), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}); err != nil {
		t.Fatal(err)
	}
	if _, err := configMaps.Create(t.Context(), configMap("counted"), metav1.CreateOptions{}); !apierrors.IsAlreadyExists(err) {
		t.Fatalf("got %v, expected AlreadyExists", err)
	}
	if err := configMaps.Delete(t.Context(), "counted", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	entries, next, err := cp.AuditSince(mark)
	if err != nil {
		t.Fatal(err)
	}
	var writes []string
	for _, e := range entries {
		if e.IsWrite() && e.Namespace == namespace && e.User == "admin" {
			writes = append(writes, fmt.Sprintf("%s %s %s %d", e.Verb, e.Resource, e.Name, e.Code))
		}
	}
	if got, want := strings.Join(writes, ", "), "create configmaps counted 201, delete configmaps counted 200"; got != want {
		t.Errorf("writes: %s, expected %s", got, want)
	}
	if next <= mark {
		t.Errorf("the mark went from %d to %d", mark, next)
	}
}

func TestAPIServerComesBackAfterAnOutage(t *testing.T) {
	cp := Shared(t)
	client, namespace := cp.Client(), cp.NewNamespace(t, "outage")
	if _, err := client.CoreV1().ConfigMaps(namespace).Create(t.Context(), configMap("kept"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := cp.StopAPIServer(); err != nil {
		t.Fatal(err)
	}
	if _, err := client.CoreV1().ConfigMaps(namespace).Get(t.Context(), "kept", getOptions); err == nil {
		t.Error("the API server answers during its outage")
	}
	t.Logf("waiting for kube-apiserver to start again")
	if err := cp.StartAPIServer(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := client.CoreV1().ConfigMaps(namespace).Get(t.Context(), "kept", getOptions); err != nil {
		t.Errorf("after the outage: %v", err)
	}
	if cp.controllerManager.PID() == 0 {
		t.Errorf("kube-controller-manager ended during the outage: %s", cp.controllerManager.LogTail())
	}
}

func TestDetachedControlPlaneIsFoundAgainAndTakenUpAfterAStop(t *testing.T) {
	options := Options{Dir: t.TempDir(), Detach: true, Log: t.Logf}
	first, err := Start(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := first.Stop(); err != nil {
			t.Error(err)
		}
	})
	if _, err := first.Kubectl(t.Context(), "create", "configmap", "kept"); err != nil {
		t.Fatal(err)
	}
	if _, err := Start(t.Context(), options); err == nil || !strings.Contains(err.Error(), "already runs") {
		t.Errorf("a second start in the same folder: %v, expected a refusal", err)
	}
	attached, err := Attach(options)
	if err != nil {
		t.Fatal(err)
	}
	if !attached.Running() {
		t.Error("the attached control plane is said not to run")
	}
	if _, err := attached.Client().CoreV1().ConfigMaps("default").Get(t.Context(), "kept", getOptions); err != nil {
		t.Error(err)
	}
	if err := attached.Stop(); err != nil {
		t.Fatal(err)
	}
	// Its parent learns of an end a moment after the kernel shows it to others.
	for _, process := range first.processes() {
		Eventually(t, 10*time.Second, process.Name+" to have ended", func(context.Context) error {
			if pid := process.PID(); pid != 0 {
				return fmt.Errorf("it runs with pid %d", pid)
			}
			return nil
		})
	}
	again, err := Start(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := again.Client().CoreV1().ConfigMaps("default").Get(t.Context(), "kept", getOptions); err != nil {
		t.Errorf("after the second start: %v", err)
	}
	if err := again.Stop(); err != nil {
		t.Error(err)
	}
}

func TestMissingBinarySaysWhatToDo(t *testing.T) {
	_, err := Start(t.Context(), Options{Dir: t.TempDir(), BinDir: t.TempDir()})
	if err == nil || !strings.Contains(err.Error(), "run make components") {
		t.Errorf("got %v, expected what to run", err)
	}
}

func expectNotFound(err error) error {
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case err == nil:
		return errors.New("still there")
	}
	return err
}
