package imports

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestEveryImportFollowsTheRules(t *testing.T) {
	g := readGraph(t, "./...")
	for _, folder := range []string{"api/wire", "api/v1alpha1"} {
		if _, found := g[folder]; !found {
			t.Errorf("go list ./... does not list %s: this test looks at the wrong module", folder)
		}
	}
	for _, violation := range g.violations(rules) {
		t.Error(violation)
	}
}

func TestViolationsNameTheChain(t *testing.T) {
	standard := func(paths ...string) graph {
		g := graph{}
		for _, path := range paths {
			g.add(pkg{ImportPath: path, Standard: true})
		}
		return g
	}
	tests := map[string]struct {
		packages []pkg
		want     string // the chain; empty for no violation
	}{
		"wire with a module": {
			packages: []pkg{{ImportPath: module + "/api/wire", Imports: []string{"fmt", "example.com/x"}}},
			want:     "api/wire -> example.com/x",
		},
		"wire with the standard library": {
			packages: []pkg{{ImportPath: module + "/api/wire", Imports: []string{"fmt", "log/slog"}}},
		},
		"seal with wire": {
			packages: []pkg{{ImportPath: module + "/api/wire/seal", Imports: []string{module + "/api/wire"}}},
		},
		"API types with controller-runtime": {
			packages: []pkg{{ImportPath: module + "/api/v1alpha1", Imports: []string{"sigs.k8s.io/controller-runtime/pkg/scheme"}}},
			want:     "api/v1alpha1 -> sigs.k8s.io/controller-runtime/pkg/scheme",
		},
		"agent program that reaches Kubernetes through a library": {
			packages: []pkg{
				{ImportPath: module + "/cmd/restic-manager-agent", Imports: []string{"example.com/x"}},
				{ImportPath: "example.com/x", Imports: []string{"example.com/y"}},
				{ImportPath: "example.com/y", Imports: []string{"k8s.io/utils/clock"}},
			},
			want: "cmd/restic-manager-agent -> example.com/x -> example.com/y -> k8s.io/utils/clock",
		},
		"controllers that reach the gateway through a helper": {
			packages: []pkg{
				{ImportPath: module + "/controllers/host", Imports: []string{module + "/internal/x"}},
				{ImportPath: module + "/internal/x", Imports: []string{module + "/agentgateway/hub"}},
				{ImportPath: module + "/agentgateway/hub"},
			},
			want: "controllers/host -> internal/x -> agentgateway/hub",
		},
		"reconciler with what decides for it": {
			packages: []pkg{{ImportPath: module + "/controllers/host", Imports: []string{module + "/controllers/compile"}}},
		},
		"reconciler with another reconciler": {
			packages: []pkg{{ImportPath: module + "/controllers/host", Imports: []string{module + "/controllers/schedule"}}},
			want:     "controllers/host -> controllers/schedule",
		},
		"root with its children": {
			packages: []pkg{{ImportPath: module + "/agent", Imports: []string{module + "/agent/job", module + "/agent/session"}}},
		},
		"child with its root": {
			packages: []pkg{{ImportPath: module + "/agent/session", Imports: []string{module + "/agent"}}},
			want:     "agent/session -> agent",
		},
		"package with its own subpackage": {
			packages: []pkg{{ImportPath: module + "/agent/session", Imports: []string{module + "/agent/session/backoff"}}},
		},
		"pure package with a client": {
			packages: []pkg{{ImportPath: module + "/controllers/compile", Imports: []string{"sigs.k8s.io/controller-runtime/pkg/client"}}},
			want:     "controllers/compile -> sigs.k8s.io/controller-runtime/pkg/client",
		},
		"plugin that reaches the agent through a library of its own": {
			packages: []pkg{
				{ImportPath: module + "/cli", Imports: []string{module + "/cli/query"}},
				{ImportPath: module + "/cli/query", Imports: []string{module + "/api/wire"}},
				{ImportPath: module + "/cmd/kubectl-restic", Imports: []string{module + "/internal/x"}},
				{ImportPath: module + "/internal/x", Imports: []string{module + "/agent/transport"}},
			},
			want: "cmd/kubectl-restic -> internal/x -> agent/transport",
		},
		"agent with the plugin": {
			packages: []pkg{{ImportPath: module + "/agent/session", Imports: []string{module + "/cli/terminal"}}},
			want:     "agent/session -> cli/terminal",
		},
		"product code with state in memory": {
			packages: []pkg{{ImportPath: module + "/agent", Imports: []string{module + "/agent/atomicfile/atomicfiletest"}}},
			want:     "agent -> agent/atomicfile/atomicfiletest",
		},
		"product code with test code": {
			packages: []pkg{{ImportPath: module + "/agent/session", Imports: []string{module + "/test/env"}}},
			want:     "agent/session -> test/env",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			g := standard("fmt", "log/slog")
			for _, p := range tt.packages {
				g.add(p)
			}
			var got []string
			for _, violation := range g.violations(rules) {
				_, chain, _ := strings.Cut(violation, "but:\n\t")
				got = append(got, strings.ReplaceAll(chain, "\n\t  imports ", " -> "))
			}
			var want []string
			if tt.want != "" {
				want = []string{tt.want}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("violations (-want +got):\n%s", diff)
			}
		})
	}
}
