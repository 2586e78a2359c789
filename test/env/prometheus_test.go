package env

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestPrometheusScrapesAndJudges(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		fmt.Fprintln(w, `some_value{namespace="shop"} 3`)
	}))
	t.Cleanup(server.Close)
	dir := t.TempDir()
	rules := filepath.Join(dir, "rules.yaml")
	const text = `groups: [{name: x, rules: [{alert: TooMuch, expr: some_value > 2, annotations: {summary: "it is {{ $value }}"}}]}]`
	if err := os.WriteFile(rules, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := StartPrometheus(t.Context(), PrometheusOptions{
		Dir: dir, RuleFiles: []string{rules}, HonorLabels: true, Log: t.Logf,
		Targets: []ScrapeTarget{{Job: "x", Address: strings.TrimPrefix(server.URL, "http://"), Labels: map[string]string{"namespace": "of-the-target"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
	})
	Eventually(t, time.Minute, "the alert fires", func(ctx context.Context) error {
		alerts, err := p.Alerts(ctx)
		if err != nil {
			return err
		}
		if len(alerts) != 1 || alerts[0].State != "firing" || alerts[0].Annotations["summary"] != "it is 3" || alerts[0].Labels["namespace"] != "shop" {
			return fmt.Errorf("alerts are %+v", alerts)
		}
		return nil
	})
	samples, err := p.Query(t.Context(), "sum by (namespace) (some_value)")
	if err != nil {
		t.Fatal(err)
	}
	if len(samples) != 1 || samples[0].Value != 3 || samples[0].Labels["namespace"] != "shop" {
		t.Errorf("samples are %+v", samples)
	}
	if samples, err := p.Query(t.Context(), "1 + 1"); err != nil || len(samples) != 1 || samples[0].Value != 2 {
		t.Errorf("1 + 1: %+v, %v", samples, err)
	}
	if _, err := p.Query(t.Context(), "sum("); err == nil || !strings.Contains(err.Error(), "parse error") {
		t.Errorf("an expression that cannot be parsed: %v", err)
	}
	tree, err := p.Parse(t.Context(), `some_value{namespace="shop"}`)
	if err != nil || tree["type"] != "vectorSelector" || tree["name"] != "some_value" {
		t.Errorf("tree is %v, %v", tree, err)
	}
}
