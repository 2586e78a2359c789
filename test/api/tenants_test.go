package api

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/restic-manager/restic-manager/test/env"
)

const tenantsGuide = "docs/guides/multi-tenancy.md"

// fromGuide returns the objects of a kind in the guide to multi-tenancy.
func fromGuide(t *testing.T, kind string) []*unstructured.Unstructured {
	t.Helper()
	root, err := env.Root()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, tenantsGuide))
	if err != nil {
		t.Fatal(err)
	}
	var found []*unstructured.Unstructured
	for _, block := range regexp.MustCompile("(?ms)^```yaml\n(.*?)^```").FindAllStringSubmatch(string(text), -1) {
		for document := range strings.SplitSeq(block[1], "\n---\n") {
			u := &unstructured.Unstructured{}
			if err := yaml.Unmarshal([]byte(document), &u.Object); err != nil {
				t.Fatalf("%s: %v", tenantsGuide, err)
			}
			if u.GetKind() == kind {
				found = append(found, u)
			}
		}
	}
	if len(found) == 0 {
		t.Fatalf("%s has no %s", tenantsGuide, kind)
	}
	return found
}

// startQuotas starts the controller that counts for quotas. The other tests do without it: it watches everything.
func startQuotas(t *testing.T, cp *env.ControlPlane) {
	t.Helper()
	path, err := env.Binary("", env.ControllerManager)
	if err != nil {
		t.Fatal(err)
	}
	process := env.NewProcess(env.Command{
		Name: "quota controller", Path: path, LogFile: filepath.Join(cp.Dir, "logs", "quota-controller.log"),
		Args: []string{"--kubeconfig=" + cp.AdminKubeconfig, "--controllers=resourcequota-controller", "--leader-elect=false", "--secure-port=0"},
	})
	if err := process.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = process.Kill() })
}

// A quota bounds each kind on its own, in its namespace.
func TestQuotasBoundTheCountOfEachKind(t *testing.T) {
	cp := installed(t)
	startQuotas(t, cp)
	c := admin(t, cp)
	namespace, other := cp.NewNamespace(t, "quota"), cp.NewNamespace(t, "quota")
	quota := fromGuide(t, "ResourceQuota")[0]
	quota.SetNamespace(namespace)
	hard, _, err := unstructured.NestedStringMap(quota.Object, "spec", "hard")
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]string{"hosts": host, "sourcegroups": sourceGroup, "schedules": schedule, "repomaintenances": repoMaintenance, "hostjobs": backupJob, "hostqueries": logQuery}
	if len(hard) != len(kinds) {
		t.Errorf("the guide bounds %v", hard)
	}
	for key := range hard {
		hard[key] = "1" // the guide's numbers would take long
	}
	if err := unstructured.SetNestedStringMap(quota.Object, hard, "spec", "hard"); err != nil {
		t.Fatal(err)
	}
	if err := c.Create(t.Context(), quota); err != nil {
		t.Fatal(err)
	}
	env.Eventually(t, 2*time.Minute, "the quota counts", func(ctx context.Context) error {
		counted := &corev1.ResourceQuota{}
		if err := c.Get(ctx, client.ObjectKeyFromObject(quota), counted); err != nil {
			return err
		}
		if len(counted.Status.Used) != len(kinds) {
			return fmt.Errorf("its status is %+v", counted.Status)
		}
		return nil
	})
	user := userWith(t, cp, namespace, "admin")
	for plural, text := range kinds {
		t.Run(plural, func(t *testing.T) {
			if err := user.Create(t.Context(), object(t, namespace, text, fields{"metadata.name": "first"})); err != nil {
				t.Fatalf("the first one: %v", err)
			}
			err := user.Create(t.Context(), object(t, namespace, text, fields{"metadata.name": "second"}))
			if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "exceeded quota") || !strings.Contains(err.Error(), "count/"+plural) {
				t.Errorf("one too many: %v", err)
			}
			for _, name := range []string{"first", "second"} {
				if err := c.Create(t.Context(), object(t, other, text, fields{"metadata.name": name})); err != nil {
					t.Errorf("in another namespace: %v", err)
				}
			}
		})
	}
}

// The guide's policy keeps a team to its own server, even who may write Hosts.
func TestAPolicyKeepsATenantToItsRepositories(t *testing.T) {
	cp := installed(t)
	c := admin(t, cp)
	namespace := cp.NewNamespace(t, "repositories")
	policy, binding := fromGuide(t, "ValidatingAdmissionPolicy")[0], fromGuide(t, "ValidatingAdmissionPolicyBinding")[0]
	// For this test's namespace alone: the others share the API server.
	if err := unstructured.SetNestedStringMap(binding.Object, map[string]string{"kubernetes.io/metadata.name": namespace}, "spec", "matchResources", "namespaceSelector", "matchLabels"); err != nil {
		t.Fatal(err)
	}
	for _, o := range []client.Object{policy, binding} {
		if err := c.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Delete(context.Background(), o) })
	}
	user := userWith(t, cp, namespace, "admin")
	create := func(ctx context.Context, url string) error {
		return user.Create(ctx, object(t, namespace, host, fields{"spec.repository.url": url}), client.DryRunAll)
	}
	const says = "this namespace backs up to"
	env.Eventually(t, time.Minute, "the policy is in force", func(ctx context.Context) error {
		if err := create(ctx, "rest:https://elsewhere.example.com/web-1"); err == nil || !strings.Contains(err.Error(), says) {
			return fmt.Errorf("another server: %w", err)
		}
		return nil
	})
	own := "rest:https://" + namespace + ".backup.example.com/"
	for url, want := range map[string]bool{
		own + "web-1":          true,
		own + "web-1/":         true,
		own:                    false,
		own + "../bank/web-1":  false,
		own + "web-1/%2e%2e/x": false,
		"rest:https://bank.backup.example.com/web-1":                               false,
		"rest:https://" + namespace + ".backup.example.com.evil.example.com/web-1": false,
		"s3:https://s3.example.com/web-1":                                          false,
	} {
		err := create(t.Context(), url)
		if want && err != nil || !want && (err == nil || !strings.Contains(err.Error(), says)) {
			t.Errorf("%s: %v, expected that it is accepted: %v", url, err, want)
		}
	}
	env.Eventually(t, time.Minute, "the policy is well-typed", func(ctx context.Context) error {
		checked := &admissionregistrationv1.ValidatingAdmissionPolicy{}
		if err := c.Get(ctx, client.ObjectKeyFromObject(policy), checked); err != nil {
			return err
		}
		if checked.Status.TypeChecking == nil {
			return errors.New("not yet")
		}
		for _, warning := range checked.Status.TypeChecking.ExpressionWarnings {
			t.Errorf("%s: %s", warning.FieldRef, warning.Warning)
		}
		return nil
	})
}
