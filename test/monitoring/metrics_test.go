package monitoring

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/restic-manager/restic-manager/test/env"
)

// inventory is the labels of each metric by its name; histograms have the names of their series.
type inventory map[string][]string

// targetLabels are those that Prometheus adds to every series.
var targetLabels = []string{"job", "instance", "le"}

// foreign are the metrics of controller-runtime that the dashboard shows.
var foreign = inventory{
	"controller_runtime_reconcile_total": {"controller", "result"},
	"workqueue_depth":                    {"name", "controller", "priority"},
}

// use is a metric that an expression asks for, and the labels by which it selects.
type use struct {
	metric string
	labels []string
}

// uses finds the selectors in a syntax tree of Prometheus.
func uses(tree any) []use {
	var found []use
	switch node := tree.(type) {
	case map[string]any:
		if kind := node["type"]; kind == "vectorSelector" || kind == "matrixSelector" {
			u := use{}
			u.metric, _ = node["name"].(string)
			matchers, _ := node["matchers"].([]any)
			for _, m := range matchers {
				matcher, _ := m.(map[string]any)
				if name, _ := matcher["name"].(string); name != "__name__" {
					u.labels = append(u.labels, name)
				}
			}
			found = append(found, u)
		}
		for _, key := range slices.Sorted(maps.Keys(node)) {
			found = append(found, uses(node[key])...)
		}
	case []any:
		for _, child := range node {
			found = append(found, uses(child)...)
		}
	}
	return found
}

// unknown says what of the uses is not exported.
func unknown(found []use, exported inventory) []string {
	var wrong []string
	for _, u := range found {
		labels, known := exported[u.metric]
		if !known {
			if labels, known = foreign[u.metric]; !known {
				wrong = append(wrong, fmt.Sprintf("metric %q is not exported", u.metric))
				continue
			}
		}
		for _, label := range u.labels {
			if !slices.Contains(labels, label) && !slices.Contains(targetLabels, label) {
				wrong = append(wrong, fmt.Sprintf("metric %q has no label %q", u.metric, label))
			}
		}
	}
	return wrong
}

// expressions are all of the rules and of the dashboard.
func expressions(t *testing.T) []expression {
	t.Helper()
	var all []expression
	for _, alert := range alerts(t) {
		all = append(all, expression{"alert " + alert.Alert, alert.Expr.String()})
	}
	return append(all, readBoard(t).expressions()...)
}

// checkExported parses every expression with Prometheus' own parser and tells of each metric and label that is not exported.
func checkExported(t *testing.T, p *env.Prometheus, exported inventory) {
	t.Helper()
	used := 0
	for _, e := range expressions(t) {
		tree, err := p.Parse(t.Context(), e.text)
		if err != nil {
			t.Errorf("%s: %v", e.of, err)
			continue
		}
		found := uses(tree)
		used += len(found)
		for _, wrong := range unknown(found, exported) {
			t.Errorf("%s: %s", e.of, wrong)
		}
	}
	if used < 50 {
		t.Errorf("%d uses of metrics were found, expected more: does Prometheus still give the tree as before?", used)
	}
}

var series = regexp.MustCompile(`(?m)^(\w+)(?:\{(.*)\})? \S+$`)

// scrapedInventory is what testdata/*.prom has.
func scrapedInventory(t *testing.T) inventory {
	t.Helper()
	found := inventory{}
	for _, file := range []string{"controllers-well.prom", "gateway-well.prom", "controllers-ill.prom", "gateway-ill.prom"} {
		for _, match := range series.FindAllStringSubmatch(read(t, "testdata/"+file), -1) {
			for pair := range strings.SplitSeq(match[2], ",") {
				label, _, _ := strings.Cut(pair, "=")
				if label != "" && !slices.Contains(found[match[1]], label) {
					found[match[1]] = append(found[match[1]], label)
				}
			}
			if found[match[1]] == nil {
				found[match[1]] = []string{}
			}
		}
	}
	return found
}

var documented = regexp.MustCompile("(?m)^\\| `(restic_manager_\\w+)` \\| (\\w+) \\| (.*?) \\|")

// documentedInventory reads the table of a page on metrics.
func documentedInventory(text string) inventory {
	found := inventory{}
	for _, match := range documented.FindAllStringSubmatch(text, -1) {
		labels := []string{}
		for label := range strings.FieldsFuncSeq(match[3], func(r rune) bool { return strings.ContainsRune("`, ", r) }) {
			labels = append(labels, label)
		}
		if match[2] == "histogram" {
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				found[match[1]+suffix] = labels
			}
			continue
		}
		found[match[1]] = labels
	}
	return found
}

// docs/metrics.md is written from the code.
func TestOnlyMetricsThatAreExportedAreAskedFor(t *testing.T) {
	text, err := os.ReadFile(path(t, "docs", "metrics.md"))
	if err != nil {
		t.Fatal(err)
	}
	exported := documentedInventory(string(text))
	checkExported(t, startPrometheus(t, newExporter(t), nil), exported)
	for metric, labels := range scrapedInventory(t) {
		if _, known := foreign[metric]; known {
			continue
		}
		for _, wrong := range unknown([]use{{metric, labels}}, exported) {
			t.Errorf("testdata: %s", wrong)
		}
	}
}

func TestMetricsThatNobodyExportsAreFound(t *testing.T) {
	exported := documentedInventory("| metric | type | labels | meaning |\n|---|---|---|---|\n" +
		"| `restic_manager_a` | gauge | `namespace`, `host` | A. |\n| `restic_manager_b_seconds` | histogram |  | B. |\n")
	tests := map[string]struct {
		tree any
		want []string
	}{
		"a metric with its labels": {
			tree: map[string]any{"type": "aggregation", "expr": map[string]any{"type": "vectorSelector", "name": "restic_manager_a",
				"matchers": []any{map[string]any{"name": "host"}, map[string]any{"name": "__name__"}, map[string]any{"name": "job"}}}},
		},
		"a histogram": {tree: map[string]any{"type": "matrixSelector", "name": "restic_manager_b_seconds_bucket"}},
		"a label that it does not have": {
			tree: []any{map[string]any{"type": "vectorSelector", "name": "restic_manager_a", "matchers": []any{map[string]any{"name": "pod"}}}},
			want: []string{`metric "restic_manager_a" has no label "pod"`},
		},
		"a metric that does not exist": {
			tree: map[string]any{"lhs": map[string]any{"type": "vectorSelector", "name": "restic_manager_c"}},
			want: []string{`metric "restic_manager_c" is not exported`},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := unknown(uses(tt.tree), exported); !slices.Equal(got, tt.want) {
				t.Errorf("got %q, expected %q", got, tt.want)
			}
		})
	}
}
