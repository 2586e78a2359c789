package manifests

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/restic-manager/restic-manager/test/env"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"
)

// The gateway faces the world: a compromised one must not read a Secret nor change what anybody asked for.
func TestGatewayRoleReadsNoSecretAndWritesNoSpec(t *testing.T) {
	root, err := env.Root()
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(root, "config", "rbac", "gateway_role.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	read := []string{"get", "list", "watch"}
	rules := 0
	for document := range strings.SplitSeq(string(data), "\n---") {
		var role rbacv1.ClusterRole
		if err := yaml.UnmarshalStrict([]byte(document), &role); err != nil {
			t.Fatal(err)
		}
		for _, rule := range role.Rules {
			rules++
			for _, resource := range rule.Resources {
				for _, verb := range rule.Verbs {
					switch {
					case verb == "*" || resource == "*" || slices.Contains(rule.APIGroups, "*"):
						t.Errorf("the gateway may %s %s in %v: no wildcards", verb, resource, rule.APIGroups)
					case resource == "secrets":
						t.Errorf("the gateway may %s secrets", verb)
					case slices.Contains(read, verb):
					case strings.HasSuffix(resource, "/status") && verb != "delete" && verb != "create":
					case resource == "events" || resource == "leases":
					default:
						t.Errorf("the gateway may %s %s, expected it to write status, Events and Leases only", verb, resource)
					}
				}
			}
		}
	}
	if rules == 0 {
		t.Error("config/rbac/gateway_role.yaml has no rule")
	}
}
