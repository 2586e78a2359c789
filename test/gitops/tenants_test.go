package gitops

import (
	"context"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/test/env"
)

// An operator that is limited to some namespaces needs rights in these alone, and sees nothing else.
func TestAnOperatorForOneNamespaceTouchesNoOther(t *testing.T) {
	cp := installed(t)
	c := adminClient(t, cp)
	mine, other := cp.NewNamespace(t, "tenant"), cp.NewNamespace(t, "tenant")
	// Beside the account of the installation, whose ClusterRoleBinding would let it see all.
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: operatorNamespace, Name: "limited"}}
	bind := func(namespace, kind string) client.Object {
		return &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "limited"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: kind, Name: "restic-manager-controller"},
			Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: account.Namespace, Name: account.Name}},
		}
	}
	objects := []client.Object{account, bind(operatorNamespace, "Role"), bind(mine, "ClusterRole")}
	for _, o := range objects {
		if err := c.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Delete(context.Background(), o) })
	}
	config, kubeconfig, err := cp.ServiceAccountConfig(t.Context(), account.Namespace, account.Name)
	if err != nil {
		t.Fatal(err)
	}
	env.Eventually(t, patience, "its rights are known", func(ctx context.Context) error {
		_, err := cp.KubectlAs(ctx, kubeconfig, "-n", mine, "get", "hosts,secrets")
		return err
	})
	if out, err := cp.KubectlAs(t.Context(), kubeconfig, "-n", other, "get", "secrets"); err == nil {
		t.Fatalf("it may read Secrets of others: %s", out)
	}
	o := startOperatorAs(t, cp, config, mine)
	theirs := &space{t: t, cp: cp, admin: o.admin, clock: o.clock, namespace: other}
	theirs.create(newHost("web-1"), newGroup("etc"))
	ours := &space{t: t, cp: cp, admin: o.admin, clock: o.clock, namespace: mine}
	ours.create(newHost("web-1"), newGroup("etc"), newSchedule("nightly"))
	ours.enrol("web-1")
	ours.until("it works in its namespace", newSchedule("nightly"), told{"Ready": "True Accepted"})
	ours.until("the default maintenance is there", newMaintenance("web-1-default"), told{"Ready": "True Accepted"})
	for _, object := range []client.Object{newHost("web-1"), newGroup("etc")} {
		u, err := theirs.object(t.Context(), kindOf(t, object), object.GetName())
		if err != nil {
			t.Fatal(err)
		}
		expectVerdict(t, u, status.InProgressStatus)
		if c := fmt.Sprint(conditionsOf(u)); c != "map[]" {
			t.Errorf("%s of another namespace was looked at: %s", u.GetKind(), c)
		}
	}
}
