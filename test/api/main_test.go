package api

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/test/env"
)

const operatorNamespace = "restic-manager-system"

func TestMain(m *testing.M) { os.Exit(env.Main(m)) }

var install sync.Once

// installed returns the shared control plane with config/default applied and its admission policies in force.
func installed(t *testing.T) *env.ControlPlane {
	t.Helper()
	cp := env.Shared(t)
	install.Do(func() {
		if _, err := cp.Kubectl(t.Context(), "apply", "--server-side", "-k", config(t, "default")); err != nil {
			t.Fatal(err)
		}
		awaitPolicies(t, cp)
	})
	return cp
}

// awaitPolicies waits until the API server has compiled the policies: it takes over a new one some time after its creation.
func awaitPolicies(t *testing.T, cp *env.ControlPlane) {
	t.Helper()
	namespace := cp.NewNamespace(t, "policies")
	user := userWith(t, cp, namespace, "edit")
	env.Eventually(t, time.Minute, "the admission policies are in force", func(ctx context.Context) error {
		err := user.Create(ctx, object(t, namespace, restoreJob), client.DryRunAll)
		if err == nil || !strings.Contains(err.Error(), "hostjobs/restore") {
			return fmt.Errorf("a restore by somebody who may not: %w", err)
		}
		content := object(t, namespace, logQuery, fields{"spec.kind": "Content"})
		if err = user.Create(ctx, content, client.DryRunAll); err == nil || !strings.Contains(err.Error(), "hostqueries/content") {
			return fmt.Errorf("the content of files by somebody who may not: %w", err)
		}
		if err = user.Create(ctx, object(t, namespace, dumpGroup), client.DryRunAll); err == nil || !strings.Contains(err.Error(), "sourcegroups/hooks") {
			return fmt.Errorf("a command by somebody who may not: %w", err)
		}
		executor := object(t, namespace, repoMaintenance, fields{"spec.executorRef": map[string]any{"name": "vault"}})
		if err = user.Create(ctx, executor, client.DryRunAll); err == nil || !strings.Contains(err.Error(), "repomaintenances/executor") {
			return fmt.Errorf("an executor by somebody who may not: %w", err)
		}
		gateway := impersonate(t, cp, "system:serviceaccount:"+operatorNamespace+":restic-manager-gateway")
		lease := object(t, operatorNamespace, "apiVersion: coordination.k8s.io/v1\nkind: Lease\nmetadata: {name: probe}")
		if err = gateway.Create(ctx, lease, client.DryRunAll); err == nil || !strings.Contains(err.Error(), "restic-manager-gateway-") {
			return fmt.Errorf("a Lease with a foreign name: %w", err)
		}
		return nil
	})
}

func config(t *testing.T, folder string) string {
	t.Helper()
	root, err := env.Root()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(root, "config", folder)
}

func scheme(t *testing.T) *runtime.Scheme {
	t.Helper()
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(s); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func clientFor(t *testing.T, config *rest.Config) client.Client {
	t.Helper()
	c, err := client.New(config, client.Options{Scheme: scheme(t)})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// admin may do everything.
func admin(t *testing.T, cp *env.ControlPlane) client.Client {
	t.Helper()
	return clientFor(t, cp.RESTConfig())
}

// impersonate acts as a user, with the groups that the API server gives to a ServiceAccount or a person.
func impersonate(t *testing.T, cp *env.ControlPlane, user string) client.Client {
	t.Helper()
	config := cp.RESTConfig()
	config.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: []string{"system:authenticated"}}
	return clientFor(t, config)
}

// userWith acts as a person who holds a ClusterRole in one namespace.
func userWith(t *testing.T, cp *env.ControlPlane, namespace, clusterRole string) client.Client {
	t.Helper()
	return bind(t, cp, namespace, clusterRole, clusterRole+"@"+namespace)
}

// bind gives a user of any name a role in a namespace.
func bind(t *testing.T, cp *env.ControlPlane, namespace, clusterRole, user string) client.Client {
	t.Helper()
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "test-", Namespace: namespace},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: clusterRole},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}},
	}
	if err := admin(t, cp).Create(t.Context(), binding); err != nil {
		t.Fatal(err)
	}
	c := impersonate(t, cp, user)
	env.Eventually(t, time.Minute, user+" may look", func(ctx context.Context) error {
		return c.List(ctx, &v1alpha1.HostList{}, client.InNamespace(namespace))
	})
	return c
}

// object parses an object, puts it into a namespace and changes fields: "spec.cron" → value; nil removes one.
func object(t *testing.T, namespace, text string, changes ...fields) *unstructured.Unstructured {
	t.Helper()
	o := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), &o.Object); err != nil {
		t.Fatalf("parsing %q: %v", text, err)
	}
	o.SetNamespace(namespace)
	for _, change := range changes {
		for path, value := range change {
			set(t, o, path, value)
		}
	}
	return o
}

type fields map[string]any

func set(t *testing.T, o *unstructured.Unstructured, path string, value any) {
	t.Helper()
	steps := splitPath(path)
	if value == nil {
		unstructured.RemoveNestedField(o.Object, steps...)
		return
	}
	// Through YAML, so that a table may hold any Go value.
	raw, err := yaml.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	var plain any
	if err := yaml.Unmarshal(raw, &plain); err != nil {
		t.Fatal(err)
	}
	if number, ok := plain.(float64); ok {
		plain = int64(number)
	}
	if err := unstructured.SetNestedField(o.Object, plain, steps...); err != nil {
		t.Fatal(err)
	}
}

func splitPath(path string) []string { return strings.Split(path, ".") }
