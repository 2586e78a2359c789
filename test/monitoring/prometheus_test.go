package monitoring

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/restic-manager/restic-manager/test/env"
)

// exporter serves testdata/<component>-<state>.prom at /controllers and /gateway. In the state "gone" it serves nothing; "crowded" is
// "ill" with hosts that are left out.
type exporter struct {
	server *httptest.Server
	t      *testing.T

	mu    sync.Mutex
	state string
}

func newExporter(t *testing.T) *exporter {
	e := &exporter{t: t, state: "well"}
	e.server = httptest.NewServer(http.HandlerFunc(e.serve))
	t.Cleanup(e.server.Close)
	return e
}

func (e *exporter) become(state string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.state = state
}

// moment stands for a Unix time in testdata, for instance now-3600.
var moment = regexp.MustCompile(` now([+-]\d+)$`)

func (e *exporter) serve(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	state := e.state
	e.mu.Unlock()
	if state == "gone" {
		http.Error(w, "gone", http.StatusServiceUnavailable)
		return
	}
	omitted := "0"
	if state == "crowded" {
		state, omitted = "ill", "5"
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4")
	now := time.Now().Unix()
	for line := range strings.Lines(read(e.t, filepath.Join("testdata", strings.TrimPrefix(r.URL.Path, "/")+"-"+state+".prom"))) {
		line = strings.TrimSuffix(line, "\n")
		line = strings.ReplaceAll(line, "restic_manager_metrics_hosts_omitted 0", "restic_manager_metrics_hosts_omitted "+omitted)
		if match := moment.FindStringSubmatch(line); match != nil {
			offset, err := strconv.ParseInt(match[1], 10, 64)
			if err != nil {
				e.t.Error(err)
			}
			line = moment.ReplaceAllString(line, fmt.Sprintf(" %d", now+offset))
		}
		fmt.Fprintln(w, line)
	}
}

// startPrometheus starts a Prometheus that scrapes the exporter as the ServiceMonitors have it scraped.
func startPrometheus(t *testing.T, e *exporter, rules []monitoringv1.RuleGroup) *env.Prometheus {
	t.Helper()
	dir := t.TempDir()
	address := strings.TrimPrefix(e.server.URL, "http://")
	// The operator adds the namespace of the Pod.
	labels := map[string]string{"namespace": "restic-manager-system"}
	options := env.PrometheusOptions{
		Dir: filepath.Join(dir, "prometheus"), Log: t.Logf, HonorLabels: true,
		Targets: []env.ScrapeTarget{
			{Job: "restic-manager-controller-metrics", Address: address, Path: "/controllers", Labels: labels},
			{Job: "restic-manager-gateway-metrics", Address: address, Path: "/gateway", Labels: labels},
		},
	}
	if rules != nil {
		file := filepath.Join(dir, "rules.yaml")
		writeRules(t, file, rules)
		options.RuleFiles = []string{file}
	}
	p, err := env.StartPrometheus(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// impatient takes the waits out of the rules: what remains is what they look for.
func impatient(groups []monitoringv1.RuleGroup) []monitoringv1.RuleGroup {
	for g := range groups {
		for r := range groups[g].Rules {
			rule := &groups[g].Rules[r]
			rule.For, rule.KeepFiringFor = nil, nil
			// Steps of a subquery are at whole multiples: with minutes, none might lie in the life of the test.
			expr := strings.ReplaceAll(rule.Expr.String(), ":1m]", ":1s]")
			// What was before the trouble lasts longer than it does in the test.
			expr = strings.ReplaceAll(expr, "quantile_over_time(0.75,", "max_over_time(")
			// Nor should what was an hour ago, in the life of the test before, count.
			expr = rangeOfGaps.ReplaceAllString(expr, "[5s])")
			rule.Expr = intstr.FromString(expr)
		}
	}
	return groups
}

var rangeOfGaps = regexp.MustCompile(`\[[12]h\]\)`)

func firing(alerts []env.Alert) []string {
	names := map[string]bool{}
	for _, alert := range alerts {
		if alert.State == "firing" {
			names[alert.Labels["alertname"]] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

func TestAlertsOfARealPrometheus(t *testing.T) {
	e := newExporter(t)
	p := startPrometheus(t, e, impatient(groups(t)))
	settle := func(what string, want []string) []env.Alert {
		t.Helper()
		var seen []env.Alert
		env.Eventually(t, 2*time.Minute, what, func(ctx context.Context) error {
			alerts, err := p.Alerts(ctx)
			if err != nil {
				return err
			}
			if got := firing(alerts); !slices.Equal(got, want) {
				return fmt.Errorf("firing are\n%v\nexpected\n%v", got, want)
			}
			seen = alerts
			return nil
		})
		return seen
	}
	scraped := func(expr string) {
		t.Helper()
		env.Eventually(t, time.Minute, "Prometheus sees "+expr, func(ctx context.Context) error {
			samples, err := p.Query(ctx, expr)
			if err == nil && len(samples) == 0 {
				err = fmt.Errorf("%s is not true yet", expr)
			}
			return err
		})
	}
	scraped("restic_manager_leader == 1 and on () restic_manager_gateway_connected_agents")
	settle("no alert fires while all is well", nil)

	dark := []string{"ResticManagerGatewayAbsent", "ResticManagerNoLeader"}
	others := func(except string) []string {
		var names []string
		for _, alert := range alerts(t) {
			if !slices.Contains(dark, alert.Alert) && alert.Alert != except {
				names = append(names, alert.Alert)
			}
		}
		slices.Sort(names)
		return names
	}
	e.become("ill")
	told := settle("every alert fires that something is there to tell of", others("ResticManagerMetricsHostsOmitted"))
	e.become("crowded")
	// What is known of some hosts only proves nothing of the others.
	told = append(told, settle("hosts without metrics are told", others("ResticManagerBackupNeverRan"))...)
	for _, alert := range told {
		text := alert.Annotations["summary"] + "\n" + alert.Annotations["description"]
		if strings.Contains(text, "error expanding") || strings.Contains(text, "<no value>") || strings.Contains(text, "{{") {
			t.Errorf("alert %s: a template that does not work: %s", alert.Labels["alertname"], text)
		}
		// The laptop is away, within its grace, and has all that would trouble a machine which is there.
		if alert.Labels["host"] == "laptop" || alert.Labels["namespace"] == "restic-manager-system" {
			t.Errorf("alert %s is about %v", alert.Labels["alertname"], alert.Labels)
		}
		if host := alert.Labels["host"]; host != "" && !strings.Contains(text, "kubectl -n shop") {
			t.Errorf("alert %s about %s names no command for its namespace: %s", alert.Labels["alertname"], host, text)
		}
	}

	e.become("gone")
	settle("only the absence of everything is told when nothing is scraped", dark)
	e.become("well")
	scraped("restic_manager_leader == 1 and on () restic_manager_gateway_connected_agents")
	settle("all alerts end", nil)
}
