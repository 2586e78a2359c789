// Command chartgen writes the parts of the Helm chart that are the same in config/: CRDs, roles, admission policies, the webhook, flow control and monitoring become
// templates, so that nothing is written twice. Deployments, Services and what has values of its own are written by hand, and a test holds them to config/default.
package main

import (
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: chartgen CONFIG_FOLDER CHART_FOLDER")
		os.Exit(2)
	}
	if err := write(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "chartgen:", err)
		os.Exit(1)
	}
}

// templates are what becomes of each file; sources are globs below config.
var templates = []struct {
	sources string
	folder  string // below the chart
	options options
}{
	{"crd/bases/*.yaml", "templates/crds", options{when: ".Values.crds.enabled", annotations: "restic-manager.crdAnnotations"}},
	{"rbac/controller_role.yaml", "templates/rbac", options{}},
	{"rbac/controller_role_binding.yaml", "templates/rbac", options{whenKind: map[string]string{"ClusterRoleBinding": "not .Values.watchNamespaces"}}},
	{"rbac/gateway_role.yaml", "templates/rbac", options{}},
	{"rbac/gateway_role_binding.yaml", "templates/rbac", options{}},
	{"rbac/leader_election_role.yaml", "templates/rbac", options{}},
	{"rbac/user_roles.yaml", "templates/rbac", options{when: ".Values.userRoles.enabled",
		lines: map[string]string{"rbac.authorization.k8s.io/aggregate-to-": ".Values.userRoles.aggregate"}}},
	{"admission/*.yaml", "templates/admission", options{}},
	{"flowcontrol/flowschema.yaml", "templates/flowcontrol", options{when: ".Values.flowControl.enabled"}},
	{"webhook/configuration.yaml", "templates/webhook", options{when: ".Values.webhook.enabled", annotations: "restic-manager.webhookAnnotations"}},
	{"webhook/service.yaml", "templates/webhook", options{when: ".Values.webhook.enabled"}},
	{"monitoring/services.yaml", "templates/monitoring", options{when: "or .Values.monitoring.services.enabled .Values.monitoring.serviceMonitor.enabled"}},
	{"monitoring/servicemonitors.yaml", "templates/monitoring", options{when: ".Values.monitoring.serviceMonitor.enabled",
		labels: "restic-manager.serviceMonitorLabels", after: map[string]string{"  - port: metrics": "restic-manager.serviceMonitorEndpoint"}}},
	{"monitoring/rules.yaml", "templates/monitoring", options{when: ".Values.monitoring.prometheusRule.enabled", labels: "restic-manager.prometheusRuleLabels"}},
}

func write(config, chart string) error {
	for _, t := range templates {
		sources, err := filepath.Glob(filepath.Join(config, filepath.FromSlash(t.sources)))
		if err != nil {
			return err
		}
		if len(sources) == 0 {
			return fmt.Errorf("%s has no %s", config, t.sources)
		}
		for _, source := range sources {
			if filepath.Base(source) == "kustomization.yaml" {
				continue
			}
			data, err := os.ReadFile(source)
			if err != nil {
				return err
			}
			text, err := template(string(data), t.options)
			if err != nil {
				return fmt.Errorf("%s: %w", source, err)
			}
			if err := put(filepath.Join(chart, filepath.FromSlash(t.folder), filepath.Base(source)), []byte(text)); err != nil {
				return err
			}
		}
	}
	dashboard, err := os.ReadFile(filepath.Join(config, "monitoring", "dashboard.json"))
	if err != nil {
		return err
	}
	return put(filepath.Join(chart, "files", "dashboard.json"), dashboard)
}

func put(file string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, data, 0o644)
}
