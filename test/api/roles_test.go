package api

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/test/env"
)

const (
	controllerAccount = "system:serviceaccount:" + operatorNamespace + ":restic-manager-controller"
	gatewayAccount    = "system:serviceaccount:" + operatorNamespace + ":restic-manager-gateway"
)

var apiResources = []string{"hosts", "sourcegroups", "schedules", "repomaintenances", "hostjobs", "hostqueries", "schedulesets"}

// may asks the API server's authorizer. resource is "group/resource[/subresource]" or "resource" for the core group.
func may(t *testing.T, cp *env.ControlPlane, user, verb, resource, namespace, name string) bool {
	t.Helper()
	attributes := &authorizationv1.ResourceAttributes{Verb: verb, Namespace: namespace, Name: name}
	group, rest, _ := strings.Cut(resource, "/")
	if !strings.Contains(group, ".") {
		group, rest = "", resource
	}
	attributes.Group = group
	attributes.Resource, attributes.Subresource, _ = strings.Cut(rest, "/")
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{User: user, Groups: []string{"system:authenticated"}, ResourceAttributes: attributes}}
	answer, err := cp.Client().AuthorizationV1().SubjectAccessReviews().Create(t.Context(), review, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return answer.Status.Allowed
}

func TestUserRoles(t *testing.T) {
	cp := installed(t)
	namespace := cp.NewNamespace(t, "roles")
	// The roles that every cluster has, which ours join.
	for _, role := range []string{"view", "edit", "admin"} {
		userWith(t, cp, namespace, role)
	}
	const api = "backup.restic-manager.io/"
	type question struct{ verb, resource string }
	var read, edit, administer, nobody []question
	for _, resource := range apiResources {
		for _, verb := range []string{"get", "list", "watch"} {
			read = append(read, question{verb, api + resource})
		}
	}
	for _, verb := range []string{"create", "delete"} {
		edit = append(edit, question{verb, api + "hostqueries"})
	}
	for _, verb := range []string{"update", "patch", "deletecollection"} {
		nobody = append(nobody, question{verb, api + "hostqueries"})
	}
	for _, verb := range []string{"create", "update", "patch", "delete", "deletecollection"} {
		for _, resource := range []string{"sourcegroups", "schedules", "repomaintenances", "hostjobs"} {
			edit = append(edit, question{verb, api + resource})
		}
		administer = append(administer, question{verb, api + "hosts"})
		nobody = append(nobody, question{verb, api + "schedulesets"})
	}
	administer = append(administer, question{"update", api + "hosts/identity"}, question{"create", api + "hostjobs/restore"}, question{"create", api + "hostqueries/content"}, question{"update", api + "hosts/hooks"},
		question{"update", api + "sourcegroups/hooks"}, question{"update", api + "repomaintenances/executor"}, question{"delete", api + "repomaintenances/executor"})
	for _, resource := range apiResources {
		nobody = append(nobody, question{"update", api + resource + "/status"}, question{"patch", api + resource + "/status"})
	}
	for _, test := range []struct {
		role    string
		can     [][]question
		canNot  [][]question
		secrets bool
	}{
		{"view", [][]question{read}, [][]question{edit, administer, nobody}, false},
		{"edit", [][]question{read, edit}, [][]question{administer, nobody}, true},
		{"admin", [][]question{read, edit, administer}, [][]question{nobody}, true},
	} {
		t.Run(test.role, func(t *testing.T) {
			user := test.role + "@" + namespace
			check := func(groups [][]question, want bool) {
				for _, group := range groups {
					for _, q := range group {
						if got := may(t, cp, user, q.verb, q.resource, namespace, ""); got != want {
							t.Errorf("may %s %s: %v, expected %v", q.verb, q.resource, got, want)
						}
					}
				}
			}
			check(test.can, true)
			check(test.canNot, false)
			// Kubernetes itself lets edit read Secrets; our view must not add that.
			if got := may(t, cp, user, "get", "secrets", namespace, ""); got != test.secrets {
				t.Errorf("may get secrets: %v, expected %v", got, test.secrets)
			}
			// A namespace is a tenant: nothing of another one, nor of all at once.
			for _, groups := range [][]question{read, edit, administer} {
				for _, q := range groups {
					for _, namespace := range []string{"default", ""} {
						if may(t, cp, user, q.verb, q.resource, namespace, "") {
							t.Errorf("may %s %s in namespace %q", q.verb, q.resource, namespace)
						}
					}
				}
			}
		})
	}
}

// Who has ours alone, and not Kubernetes' edit, runs backups and holds no password.
func TestOurRolesByThemselves(t *testing.T) {
	cp := installed(t)
	namespace := cp.NewNamespace(t, "roles")
	bind(t, cp, namespace, "restic-manager-view", "operations")
	user := bind(t, cp, namespace, "restic-manager-edit", "operations")
	const api = "backup.restic-manager.io/"
	for _, test := range []struct {
		verb, resource string
		want           bool
	}{
		{"list", api + "hosts", true},
		{"create", api + "schedules", true},
		{"create", api + "hostjobs", true},
		{"create", api + "hosts", false},
		{"create", api + "hostjobs/restore", false},
		{"create", api + "hostqueries", true},
		{"create", api + "hostqueries/content", false},
		{"get", "secrets", false},
		{"list", "secrets", false},
		{"create", "secrets", false},
		{"get", "configmaps", false},
		{"create", "pods", false},
	} {
		if got := may(t, cp, "operations", test.verb, test.resource, namespace, ""); got != test.want {
			t.Errorf("may %s %s: %v, expected %v", test.verb, test.resource, got, test.want)
		}
	}
	env.Eventually(t, time.Minute, "a group is created", func(ctx context.Context) error {
		return user.Create(ctx, object(t, namespace, sourceGroup), client.DryRunAll)
	})
	if err := user.List(t.Context(), &v1alpha1.HostList{}); !apierrors.IsForbidden(err) {
		t.Errorf("the Hosts of all namespaces: %v, expected that they are refused", err)
	}
	if err := user.List(t.Context(), &corev1.SecretList{}, client.InNamespace(namespace)); !apierrors.IsForbidden(err) {
		t.Errorf("the Secrets of the namespace: %v, expected that they are refused", err)
	}
}

// An operations team that may restore, and no more.
func TestARightToRestoreIsGivenByItself(t *testing.T) {
	cp := installed(t)
	namespace := cp.NewNamespace(t, "roles")
	user := userWith(t, cp, namespace, "edit")
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: namespace}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{v1alpha1.GroupVersion.Group}, Resources: []string{"hostjobs/restore"}, Verbs: []string{"create"}},
	}}
	c := admin(t, cp)
	if err := c.Create(t.Context(), role); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Delete(context.Background(), role) })
	bind(t, cp, namespace, role.Name, "edit@"+namespace)
	env.Eventually(t, time.Minute, "a restore is created", func(ctx context.Context) error {
		return user.Create(ctx, object(t, namespace, restoreJob), client.DryRunAll)
	})
	if err := user.Create(t.Context(), object(t, namespace, host), client.DryRunAll); !apierrors.IsForbidden(err) {
		t.Errorf("a Host: %v, expected that it is refused", err)
	}
}

func TestOperatorAccounts(t *testing.T) {
	cp := installed(t)
	const api = "backup.restic-manager.io/"
	for _, test := range []struct {
		account, verb, resource, namespace string
		want                               bool
	}{
		{gatewayAccount, "get", "secrets", operatorNamespace, false},
		{gatewayAccount, "list", "secrets", "default", false},
		{gatewayAccount, "watch", "secrets", "default", false},
		{gatewayAccount, "get", "configmaps", operatorNamespace, false},
		{gatewayAccount, "create", "serviceaccounts/token", operatorNamespace, false},
		{gatewayAccount, "impersonate", "serviceaccounts", operatorNamespace, false},
		{gatewayAccount, "create", "rbac.authorization.k8s.io/clusterrolebindings", "", false},
		{gatewayAccount, "update", api + "hosts", "default", false},
		{gatewayAccount, "patch", api + "hosts", "default", false},
		{gatewayAccount, "update", api + "hosts/identity", "default", false},
		{gatewayAccount, "patch", api + "hostjobs", "default", false},
		{gatewayAccount, "create", api + "hostjobs", "default", false},
		{gatewayAccount, "patch", api + "schedulesets", "default", false},
		{gatewayAccount, "patch", api + "sourcegroups/status", "default", false},
		{gatewayAccount, "patch", api + "schedules/status", "default", false},
		{gatewayAccount, "get", "coordination.k8s.io/leases", "default", false},
		{gatewayAccount, "get", api + "hosts", "default", true},
		{gatewayAccount, "watch", api + "schedulesets", "default", true},
		{gatewayAccount, "watch", api + "hostjobs", "default", true},
		{gatewayAccount, "watch", api + "hostqueries", "default", true},
		{gatewayAccount, "create", api + "hostqueries", "default", false},
		{gatewayAccount, "delete", api + "hostqueries", "default", false},
		{gatewayAccount, "patch", api + "hostqueries/status", "default", false},
		{gatewayAccount, "patch", api + "hosts/status", "default", true},
		{gatewayAccount, "patch", api + "schedulesets/status", "default", true},
		{gatewayAccount, "patch", api + "hostjobs/status", "default", true},
		{gatewayAccount, "create", "events.k8s.io/events", "default", true},
		{gatewayAccount, "create", "coordination.k8s.io/leases", operatorNamespace, true},

		{controllerAccount, "watch", api + "hosts", "default", true},
		{controllerAccount, "patch", api + "sourcegroups/status", "default", true},
		{controllerAccount, "patch", api + "schedules/status", "default", true},
		{controllerAccount, "patch", api + "repomaintenances/status", "default", true},
		{controllerAccount, "patch", api + "hostjobs/status", "default", true},
		{controllerAccount, "delete", api + "hostjobs", "default", true},
		{controllerAccount, "create", "coordination.k8s.io/leases", operatorNamespace, true},
		{controllerAccount, "create", "rbac.authorization.k8s.io/clusterrolebindings", "", false},
		{controllerAccount, "create", "serviceaccounts/token", operatorNamespace, false},
		{controllerAccount, "delete", "namespaces", "", false},
		{controllerAccount, "create", api + "hostjobs/restore", "default", false},
		{controllerAccount, "watch", api + "hostqueries", "default", true},
		{controllerAccount, "delete", api + "hostqueries", "default", true},
		{controllerAccount, "patch", api + "hostqueries/status", "default", true},
		{controllerAccount, "create", api + "hostqueries", "default", false},
		{controllerAccount, "create", api + "hostqueries/content", "default", false},
		{controllerAccount, "update", api + "hosts/hooks", "default", false},
		{controllerAccount, "update", api + "sourcegroups/hooks", "default", false},
		{controllerAccount, "update", api + "repomaintenances/executor", "default", false},
		{controllerAccount, "delete", api + "repomaintenances/executor", "default", false},
		{controllerAccount, "create", "secrets", "default", true},
		{controllerAccount, "list", api + "repomaintenances", "default", true},
		{gatewayAccount, "get", api + "repomaintenances", "default", false},
		{gatewayAccount, "delete", api + "hostjobs", "default", false},
		{controllerAccount, "update", api + "sourcegroups", "default", false},
		{controllerAccount, "update", api + "schedules", "default", false},
	} {
		name, _ := strings.CutPrefix(test.account, "system:serviceaccount:"+operatorNamespace+":")
		t.Run(fmt.Sprintf("%s %s %s in %q", name, test.verb, test.resource, test.namespace), func(t *testing.T) {
			if got := may(t, cp, test.account, test.verb, test.resource, test.namespace, ""); got != test.want {
				t.Errorf("got %v, expected %v", got, test.want)
			}
		})
	}
}

func TestOurRolesJoinThoseOfTheCluster(t *testing.T) {
	cp := installed(t)
	env.Eventually(t, time.Minute, "admin holds the rules of restic-manager-admin", func(ctx context.Context) error {
		role, err := cp.Client().RbacV1().ClusterRoles().Get(ctx, "admin", metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, resource := range []string{"hosts/identity", "hosts/hooks", "sourcegroups/hooks", "repomaintenances/executor", "hostjobs/restore", "hostqueries/content"} {
			if !holds(role.Rules, resource) {
				return fmt.Errorf("%s is not in it yet", resource)
			}
		}
		return nil
	})
}

func holds(rules []rbacv1.PolicyRule, resource string) bool {
	for _, rule := range rules {
		for _, r := range rule.Resources {
			if r == resource {
				return true
			}
		}
	}
	return false
}
