package webhook

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/controllers/compile"
	"github.com/restic-manager/restic-manager/controllers/maintenance"
)

var repoMaintenances = judge[*v1alpha1.RepoMaintenance]{refuse: refuseMaintenance, warn: warnMaintenance}

func refuseMaintenance(m *v1alpha1.RepoMaintenance) field.ErrorList {
	var errs field.ErrorList
	for _, p := range maintenance.Problems(&m.Spec) {
		errs = append(errs, invalid(p.Field, p.Message))
	}
	return errs
}

func warnMaintenance(ctx context.Context, v view, m *v1alpha1.RepoMaintenance) ([]string, error) {
	var warnings []string
	if ref := m.Spec.ExecutorRef; ref != nil {
		executor, err := v.host(ctx, ref.Name)
		if err != nil {
			return nil, err
		}
		if executor == nil {
			warnings = append(warnings, noHost("spec.executorRef", ref.Name)+"; until then nothing but verify is run")
		}
	}
	if ref := m.Spec.HostRef; ref != nil {
		host, err := v.host(ctx, ref.Name)
		if host == nil && err == nil {
			warnings = append(warnings, noHost("spec.hostRef", ref.Name))
		}
		return warnings, err
	}
	hosts, err := v.hosts(ctx)
	if err != nil {
		return nil, err
	}
	for i := range hosts {
		// The selector parses: else it was refused.
		if matches, _ := compile.Matches(m.Spec.Selector, &hosts[i]); matches {
			return warnings, nil
		}
	}
	return append(warnings, "spec.hostSelector: no Host in this namespace has such labels: the RepoMaintenance is for no Host"), nil
}

func noHost(path, name string) string {
	return fmt.Sprintf("%s: there is no Host %q in this namespace: create it, or name another one", path, name)
}
