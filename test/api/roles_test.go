package api

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/restic-manager/restic-manager/test/env"
)

const (
	controllerAccount = "system:serviceaccount:" + operatorNamespace + ":restic-manager-controller"
	gatewayAccount    = "system:serviceaccount:" + operatorNamespace + ":restic-manager-gateway"
)

var apiResources = []string{"hosts", "sourcegroups", "schedules", "repomaintenances", "hostjobs", "schedulesets"}

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
	for _, verb := range []string{"create", "update", "patch", "delete", "deletecollection"} {
		for _, resource := range []string{"sourcegroups", "schedules", "repomaintenances", "hostjobs"} {
			edit = append(edit, question{verb, api + resource})
		}
		administer = append(administer, question{verb, api + "hosts"})
		nobody = append(nobody, question{verb, api + "schedulesets"})
	}
	administer = append(administer, question{"update", api + "hosts/identity"}, question{"create", api + "hostjobs/restore"}, question{"update", api + "hosts/hooks"},
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
			if may(t, cp, user, "get", api+"hosts", "default", "") {
				t.Error("may get hosts in another namespace")
			}
		})
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
		for _, resource := range []string{"hosts/identity", "hosts/hooks", "sourcegroups/hooks", "repomaintenances/executor", "hostjobs/restore"} {
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
