package api

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/test/env"
)

// editing changes one object of the API server as different people.
type editing struct {
	t      *testing.T
	object *unstructured.Unstructured
}

func (e editing) by(c client.Client, changes fields) error {
	e.t.Helper()
	if err := c.Get(e.t.Context(), client.ObjectKeyFromObject(e.object), e.object); err != nil {
		e.t.Fatal(err)
	}
	for path, value := range changes {
		set(e.t, e.object, path, value)
	}
	return c.Update(e.t.Context(), e.object)
}

// hostWriter may write Hosts, and nothing of what else the admin role has.
func hostWriter(t *testing.T, cp *env.ControlPlane, namespace string) client.Client {
	t.Helper()
	if _, err := cp.Kubectl(t.Context(), "-n", namespace, "create", "role", "hosts", "--verb=get,list,create,update,patch,delete", "--resource=hosts.backup.restic-manager.io"); err != nil {
		t.Fatal(err)
	}
	if _, err := cp.Kubectl(t.Context(), "-n", namespace, "create", "rolebinding", "hosts", "--role=hosts", "--user=operator@"+namespace); err != nil {
		t.Fatal(err)
	}
	operator := impersonate(t, cp, "operator@"+namespace)
	env.Eventually(t, time.Minute, "operator may look", func(ctx context.Context) error {
		return operator.List(ctx, &v1alpha1.HostList{}, client.InNamespace(namespace))
	})
	return operator
}

func TestHooksOfAHostTakeAPermissionOfTheirOwn(t *testing.T) {
	cp := installed(t)
	namespace := cp.NewNamespace(t, "hooks")
	operator, namespaceAdmin := hostWriter(t, cp, namespace), userWith(t, cp, namespace, "admin")
	with := fields{"spec.hooks": hooks()}
	want := []string{"spec.hooks are commands that run as root on the machine", "update on hosts/hooks", "restic-manager-admin"}

	expectForbidden(t, operator.Create(t.Context(), object(t, namespace, host, with)), want...)
	h := object(t, namespace, host)
	if err := operator.Create(t.Context(), h); err != nil {
		t.Fatalf("a Host without hooks: %v", err)
	}
	edit := editing{t, h}
	expectForbidden(t, edit.by(operator, with), want...)
	if err := edit.by(namespaceAdmin, with); err != nil {
		t.Fatalf("the namespace's admin sets hooks: %v", err)
	}
	if err := edit.by(operator, fields{"spec.suspend": true}); err != nil {
		t.Errorf("a change beside the hooks: %v", err)
	}
	for name, changed := range map[string]any{
		"another word": hooks(fields{"command": []string{"/usr/sbin/thaw"}}), "another timeout": hooks(fields{"timeout": "1h"}), "another policy": hooks(fields{"onError": "Continue"}), "none": nil,
	} {
		t.Run(name, func(t *testing.T) { expectForbidden(t, edit.by(operator, fields{"spec.hooks": changed}), want...) })
	}
	controllers := impersonateController(t, cp)
	if err := controllers.Patch(t.Context(), h.DeepCopy(), client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"annotations":{"x":"y"}}}`))); err != nil {
		t.Errorf("the controllers write a Host that has hooks: %v", err)
	}
	expectForbidden(t, controllers.Patch(t.Context(), h.DeepCopy(), client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"hooks":null}}`))), want...)
	if err := edit.by(namespaceAdmin, fields{"spec.hooks": nil}); err != nil {
		t.Errorf("the namespace's admin takes hooks away: %v", err)
	}
}

func TestHooksAndCommandsOfASourceGroupTakeAPermissionOfTheirOwn(t *testing.T) {
	cp := installed(t)
	namespace := cp.NewNamespace(t, "hooks")
	editor, namespaceAdmin := userWith(t, cp, namespace, "edit"), userWith(t, cp, namespace, "admin")
	const permission = "update on sourcegroups/hooks (ClusterRole restic-manager-admin)"

	expectForbidden(t, editor.Create(t.Context(), object(t, namespace, sourceGroup, fields{"spec.hooks": hooks()})), "spec.hooks are commands that run as root", permission)
	expectForbidden(t, editor.Create(t.Context(), object(t, namespace, dumpGroup)), "spec.command runs as root", permission)
	expectForbidden(t, editor.Create(t.Context(), object(t, namespace, dumpGroup, fields{"metadata.name": nil, "metadata.generateName": "dump-"})), "spec.command runs as root", permission)

	files := object(t, namespace, sourceGroup)
	if err := editor.Create(t.Context(), files); err != nil {
		t.Fatalf("a group of files by an editor: %v", err)
	}
	edit := editing{t, files}
	if err := edit.by(editor, fields{"spec.includes": []string{"/etc", "/home"}, "spec.hostRef.name": "web-2", "spec.retention": map[string]any{"keepDaily": 7}}); err != nil {
		t.Errorf("an editor changes a group of files: %v", err)
	}
	expectForbidden(t, edit.by(editor, fields{"spec.hooks": hooks()}), "spec.hooks", permission)
	expectForbidden(t, edit.by(editor, fields{"spec.includes": nil, "spec.command": []string{"/bin/sh"}, "spec.fileName": "x"}), "spec.command", permission)
	if err := edit.by(namespaceAdmin, fields{"spec.hooks": hooks()}); err != nil {
		t.Fatalf("the namespace's admin sets hooks: %v", err)
	}
	for name, change := range map[string]fields{
		"another Host":   {"spec.hostRef.name": "web-1"},
		"a selector":     {"spec.hostRef": nil, "spec.hostSelector": map[string]any{}},
		"without hooks":  {"spec.hooks": nil},
		"with more":      {"spec.hooks": map[string]any{"onFailure": []any{map[string]any{"command": []string{"/bin/sh"}}}}},
		"with a command": {"spec.includes": nil, "spec.command": []string{"/bin/sh"}, "spec.fileName": "x"},
	} {
		t.Run(name, func(t *testing.T) { expectForbidden(t, edit.by(editor, change), permission) })
	}
	if err := edit.by(editor, fields{"spec.retention": map[string]any{"keepDaily": 14}, "spec.excludes": []string{"*.tmp"}}); err != nil {
		t.Errorf("an editor changes a group beside its hooks: %v", err)
	}

	dump := object(t, namespace, dumpGroup)
	if err := namespaceAdmin.Create(t.Context(), dump); err != nil {
		t.Fatalf("a dump by the namespace's admin: %v", err)
	}
	edit = editing{t, dump}
	expectForbidden(t, edit.by(editor, fields{"spec.command": []string{"/bin/sh"}}), "spec.command", permission)
	expectForbidden(t, edit.by(editor, fields{"spec.hostRef.name": "web-2"}), "choose the machines on which", permission)
	if err := edit.by(editor, fields{"spec.fileName": "all.dump"}); err != nil {
		t.Errorf("an editor renames the file: %v", err)
	}
	if err := editor.Delete(t.Context(), dump); err != nil {
		t.Errorf("deleting takes no more: %v", err)
	}
}

// Where the credentials that may delete go is decided by the RepoMaintenance that names an executor, and by its absence.
func TestAnExecutorTakesAPermissionOfItsOwn(t *testing.T) {
	cp := installed(t)
	namespace := cp.NewNamespace(t, "executor")
	editor, namespaceAdmin := userWith(t, cp, namespace, "edit"), userWith(t, cp, namespace, "admin")
	vault := fields{"spec.executorRef": map[string]any{"name": "vault"}}
	const permission = "update on repomaintenances/executor (ClusterRole restic-manager-admin)"

	expectForbidden(t, editor.Create(t.Context(), object(t, namespace, repoMaintenance, vault)), "which machine gets the credentials that may delete", permission)
	m := object(t, namespace, repoMaintenance)
	if err := editor.Create(t.Context(), m); err != nil {
		t.Fatalf("a RepoMaintenance without executor by an editor: %v", err)
	}
	edit := editing{t, m}
	if err := edit.by(editor, fields{"spec.prune.maxUnused": "10%"}); err != nil {
		t.Errorf("an editor changes it: %v", err)
	}
	expectForbidden(t, edit.by(editor, vault), permission)
	if err := edit.by(namespaceAdmin, vault); err != nil {
		t.Fatalf("the namespace's admin names an executor: %v", err)
	}
	for name, change := range map[string]fields{
		"another executor":                     {"spec.executorRef.name": "mine"},
		"none":                                 {"spec.executorRef": nil},
		"another host":                         {"spec.hostRef.name": "web-2"},
		"a cron that keeps it out of force":    {"spec.prune.cron": "never"},
		"the label of one that goes by itself": {"metadata.labels": map[string]any{v1alpha1.LabelDefault: "true"}},
		"an owner that the garbage collector misses": {"metadata.ownerReferences": []any{map[string]any{
			"apiVersion": v1alpha1.GroupVersion.String(), "kind": "Host", "name": "gone", "uid": "6d1f0d52-0000-4000-8000-000000000000",
		}}},
	} {
		t.Run(name, func(t *testing.T) { expectForbidden(t, edit.by(editor, change), permission) })
	}
	if err := edit.by(editor, fields{"metadata.labels": map[string]any{"team": "shop"}}); err != nil {
		t.Errorf("an editor labels it: %v", err)
	}
	// Whoever may create ServiceAccounts may give one any name.
	namesake := bind(t, cp, namespace, "edit", "system:serviceaccount:"+namespace+":restic-manager-controller")
	expectForbidden(t, namesake.Delete(t.Context(), m), "delete on repomaintenances/executor")
	expectForbidden(t, edit.by(namesake, fields{"spec.executorRef.name": "mine"}), permission)
	expectForbidden(t, editor.Delete(t.Context(), m), "delete on repomaintenances/executor")
	if err := editor.DeleteAllOf(t.Context(), m.DeepCopy(), client.InNamespace(namespace)); err == nil || !strings.Contains(err.Error(), "delete on repomaintenances/executor") {
		t.Errorf("an editor deletes all of them: %v", err)
	}

	t.Log("one that the controllers made is not theirs to delete once somebody named an executor in it")
	patch := fmt.Appendf(nil, `{"metadata":{"labels":{%q:"true"}}}`, v1alpha1.LabelDefault)
	if err := namespaceAdmin.Patch(t.Context(), m, client.RawPatch("application/merge-patch+json", patch)); err != nil {
		t.Fatal(err)
	}
	expectForbidden(t, impersonateController(t, cp).Delete(t.Context(), m.DeepCopy(), client.DryRunAll), "delete on repomaintenances/executor")
	if err := namespaceAdmin.Delete(t.Context(), m); err != nil {
		t.Errorf("the namespace's admin deletes it: %v", err)
	}
}

// A policy that Kubernetes' own controllers do not pass would keep a namespace from ever going, and a Host's default RepoMaintenance after the Host.
func TestKubernetesItselfDeletesAnExecutor(t *testing.T) {
	cp := installed(t)
	namespace := cp.NewNamespace(t, "going")
	for _, account := range []string{"namespace-controller", "generic-garbage-collector"} {
		t.Run(account, func(t *testing.T) {
			m := object(t, namespace, repoMaintenance, fields{"spec.executorRef": map[string]any{"name": "vault"}})
			if err := admin(t, cp).Create(t.Context(), m); err != nil {
				t.Fatal(err)
			}
			if err := impersonate(t, cp, "system:serviceaccount:kube-system:"+account).Delete(t.Context(), m); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestANamespaceWithAnExecutorAndHooksCanBeDeleted(t *testing.T) {
	cp := installed(t)
	namespace, c := cp.NewNamespace(t, "going"), admin(t, cp)
	for _, o := range []client.Object{
		object(t, namespace, repoMaintenance, fields{"spec.executorRef": map[string]any{"name": "vault"}}), object(t, namespace, dumpGroup), object(t, namespace, host, fields{"spec.hooks": hooks()}),
	} {
		if err := c.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Delete(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}); err != nil {
		t.Fatal(err)
	}
	env.Eventually(t, 2*time.Minute, "the namespace is gone", func(ctx context.Context) error {
		left := &corev1.Namespace{}
		err := c.Get(ctx, client.ObjectKey{Name: namespace}, left)
		switch {
		case apierrors.IsNotFound(err):
			return nil
		case err != nil:
			return err
		}
		return fmt.Errorf("it is still there: %+v", left.Status)
	})
}
