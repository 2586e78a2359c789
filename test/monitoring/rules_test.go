package monitoring

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

const runbooks = "https://github.com/restic-manager/restic-manager/blob/main/docs/guides/monitoring.md#"

func TestPrometheusTakesTheRules(t *testing.T) {
	file := filepath.Join(t.TempDir(), "rules.yaml")
	writeRules(t, file, groups(t))
	if out, err := promtool(t, "check", "rules", "--lint=all", "--lint-fatal", file); err != nil {
		t.Errorf("promtool check rules: %v\n%s", err, out)
	}
}

func TestEveryAlertSaysWhatToDo(t *testing.T) {
	seen := map[string]bool{}
	for _, alert := range alerts(t) {
		if !strings.HasPrefix(alert.Alert, "ResticManager") {
			t.Errorf("alert %s: expected the prefix ResticManager", alert.Alert)
		}
		if seen[alert.Alert] {
			t.Errorf("alert %s is there twice", alert.Alert)
		}
		seen[alert.Alert] = true
		if !slices.Contains([]string{"critical", "warning", "info"}, alert.Labels["severity"]) {
			t.Errorf("alert %s: severity %q", alert.Alert, alert.Labels["severity"])
		}
		if alert.Annotations["summary"] == "" || strings.Contains(alert.Annotations["summary"], "\n") {
			t.Errorf("alert %s: expected a summary of one line, got %q", alert.Alert, alert.Annotations["summary"])
		}
		if !strings.Contains(alert.Annotations["description"], "kubectl ") {
			t.Errorf("alert %s: no kubectl command in its description", alert.Alert)
		}
		if want := runbooks + strings.ToLower(alert.Alert); alert.Annotations["runbook_url"] != want {
			t.Errorf("alert %s: runbook_url %q, expected %q", alert.Alert, alert.Annotations["runbook_url"], want)
		}
	}
}

// unitTests is what promtool test rules reads, as far as the tests look at it.
type unitTests struct {
	Tests []struct {
		Name   string `json:"name"`
		Alerts []struct {
			Name     string `json:"alertname"`
			Expected []any  `json:"exp_alerts"`
		} `json:"alert_rule_test"`
	} `json:"tests"`
}

// Annotations are left to the test with a real Prometheus: promtool would have each of them repeated word by word.
func TestAlertsFireWhenTheyShouldAndAtNoOtherTime(t *testing.T) {
	dir := t.TempDir()
	all := groups(t)
	for g := range all {
		for r := range all[g].Rules {
			all[g].Rules[r].Annotations = nil
		}
	}
	writeRules(t, filepath.Join(dir, "rules.yaml"), all)
	fires, rests := map[string]bool{}, map[string]bool{}
	for _, file := range []string{"alerts.yaml", "alerts_days.yaml"} {
		text := read(t, filepath.Join("testdata", file))
		write(t, filepath.Join(dir, file), text)
		if out, err := promtool(t, "test", "rules", filepath.Join(dir, file)); err != nil {
			t.Errorf("promtool test rules %s: %v\n%s", file, err, out)
		}
		var tests unitTests
		if err := yaml.Unmarshal([]byte(text), &tests); err != nil {
			t.Fatal(err)
		}
		for _, test := range tests.Tests {
			for _, alert := range test.Alerts {
				if len(alert.Expected) > 0 {
					fires[alert.Name] = true
				} else {
					rests[alert.Name] = true
				}
			}
		}
	}
	known := map[string]bool{}
	for _, alert := range alerts(t) {
		known[alert.Alert] = true
		if !fires[alert.Alert] {
			t.Errorf("no test in which alert %s fires", alert.Alert)
		}
		if !rests[alert.Alert] {
			t.Errorf("no test in which alert %s does not fire", alert.Alert)
		}
	}
	for _, tested := range []map[string]bool{fires, rests} {
		for name := range tested {
			if !known[name] {
				t.Errorf("testdata tests alert %s, which does not exist", name)
			}
		}
	}
}

var section = regexp.MustCompile(`(?m)^#+ (ResticManager\w+)$`)

func TestTheGuideHasASectionOnEveryAlert(t *testing.T) {
	text, err := os.ReadFile(path(t, "docs", "guides", "monitoring.md"))
	if err != nil {
		t.Fatal(err)
	}
	var documented, existing []string
	for _, match := range section.FindAllStringSubmatch(string(text), -1) {
		documented = append(documented, match[1])
	}
	for _, alert := range alerts(t) {
		existing = append(existing, alert.Alert)
	}
	if !slices.Equal(documented, existing) {
		t.Errorf("docs/guides/monitoring.md has sections on\n%v\nthe alerts are\n%v", documented, existing)
	}
}
