package api

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func TestDefaults(t *testing.T) {
	cp := installed(t)
	c, namespace := admin(t, cp), cp.NewNamespace(t, "defaults")
	for _, test := range []struct {
		name, base string
		want       fields
	}{
		{"a Host nobody looked at", host, fields{"status.observedGeneration": int64(-1)}},
		{"a SourceGroup nobody looked at", sourceGroup, fields{"status.observedGeneration": int64(-1)}},
		{"a Schedule", schedule, fields{"spec.timeZone": "UTC", "spec.whenDisconnected": "Run", "status.observedGeneration": int64(-1)}},
		{"a RepoMaintenance", repoMaintenance, fields{"spec.timeZone": "UTC", "spec.prune.maxUnused": "5%", "status.observedGeneration": int64(-1)}},
		{"a Backup", backupJob, fields{"spec.cancel": false, "spec.activeDeadlineSeconds": int64(86400), "spec.startingDeadlineSeconds": int64(3600), "status.observedGeneration": int64(-1)}},
		{"a RepoMaintenance that keeps its jobs for an hour", repoMaintenance, fields{"spec.successTTLSeconds": int64(3600)}},
		{"a check", checkJob, fields{"spec.check.readDataSubset": "5%"}},
		{"a prune", pruneJob, fields{"spec.prune.maxUnused": "5%", "spec.prune.maxRepackSize": "10G"}},
		{"a restore drill", verifyJob, fields{"spec.verify.sample": int64(20)}},
		{"a drill by cron", strings.Replace(repoMaintenance, "prune:", "verify:", 1), fields{"spec.verify.sample": int64(20)}},
		{"a hook", strings.Replace(host, "spec:", "spec:\n  hooks: {preBackup: [{command: [/bin/true]}]}", 1),
			fields{"spec.hooks.preBackup": []any{map[string]any{"command": []any{"/bin/true"}, "timeout": "10m", "onError": "Fail"}}}},
		{"a dump", dumpGroup, fields{"spec.fileName": "shop.dump", "status.observedGeneration": int64(-1)}},
		{"a Restore", restoreJob, fields{"spec.restore.snapshot": "latest", "spec.restore.overwrite": "IfChanged"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := object(t, namespace, test.base)
			if err := c.Create(t.Context(), o, client.DryRunAll); err != nil {
				t.Fatal(err)
			}
			got := fields{}
			for path := range test.want {
				got[path] = field(t, o, path)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("defaults (-want +got):\n%s", diff)
			}
		})
	}
}

func field(t *testing.T, o *unstructured.Unstructured, path string) any {
	t.Helper()
	value, _, err := unstructured.NestedFieldNoCopy(o.Object, splitPath(path)...)
	if err != nil {
		t.Fatal(err)
	}
	return value
}
