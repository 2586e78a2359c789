package fleet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/test/env"
	"github.com/restic-manager/restic-manager/test/stack"
)

func (w *world) relabel(host, label, value string) {
	w.Helper()
	h := &v1alpha1.Host{}
	h.Namespace, h.Name = w.ns, host
	patch := fmt.Sprintf(`{"metadata":{"labels":{%q:%q}}}`, label, value)
	w.must(w.Patch(w.Context(), h, client.RawPatch(types.MergePatchType, []byte(patch))))
}

func (w *world) suspend(schedule string, on bool) {
	w.Helper()
	s := &v1alpha1.Schedule{}
	s.Namespace, s.Name = w.ns, schedule
	w.must(w.Patch(w.Context(), s, client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"spec":{"suspend":%t}}`, on))))
}

func (w *world) hostIs(name string, ok func(*v1alpha1.Host) bool) {
	w.Helper()
	h := &v1alpha1.Host{}
	w.eventually("Host "+name, func(ctx context.Context) error {
		if err := w.Get(ctx, client.ObjectKey{Namespace: w.ns, Name: name}, h); err != nil {
			return err
		}
		if !ok(h) {
			return fmt.Errorf("overdue %+v, conditions %+v", h.Status.Overdue, h.Status.Conditions)
		}
		return nil
	})
}

// createUnchecked creates an object that the webhook would refuse, as it was before there was one.
func (w *world) createUnchecked(object client.Object) {
	w.Helper()
	w.must(stack.Unchecked(w.Context(), w.CP, w.Webhook, func() error {
		object.SetNamespace(w.ns)
		return w.Create(w.Context(), object)
	}))
}

// restartController kills the controllers and starts them, and waits until they lead again.
func (w *world) restartController() {
	w.Helper()
	w.must(w.Controller.Kill())
	w.must(w.Controller.Start(w.Context()))
	w.eventually("the controllers lead again", func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+w.ControllerMetrics+"/metrics", nil)
		if err != nil {
			return err
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return err
		}
		defer func() { _ = response.Body.Close() }()
		text, err := io.ReadAll(response.Body)
		if err == nil && !strings.Contains(string(text), "\nrestic_manager_leader 1\n") {
			err = errors.New("not yet")
		}
		return err
	})
}

// prometheus scrapes the programs and judges by the rules that are shipped, without the times for which they wait. That an alert ends is for the unit tests of the rules: it goes on for a while, to bridge a change of the leader.
func (w *world) prometheus(dir string) *env.Prometheus {
	w.Helper()
	root, err := env.Root()
	w.must(err)
	raw, err := os.ReadFile(filepath.Join(root, "config", "monitoring", "rules.yaml"))
	w.must(err)
	var rule struct{ Spec any }
	w.must(yaml.Unmarshal(raw, &rule))
	text, err := yaml.Marshal(rule.Spec)
	w.must(err)
	rules := filepath.Join(dir, "rules.yaml")
	w.must(os.WriteFile(rules, regexp.MustCompile(`(?m)^(\s*)(for|keep_firing_for): .*$`).ReplaceAll(text, []byte("${1}${2}: 0s")), 0o600))
	targets := []env.ScrapeTarget{{Job: "restic-manager-controller", Address: w.ControllerMetrics}}
	for _, g := range w.Replicas {
		targets = append(targets, env.ScrapeTarget{Job: "restic-manager-gateway-" + g.Instance, Address: g.Metrics})
	}
	prom, err := env.StartPrometheus(w.Context(), env.PrometheusOptions{Dir: filepath.Join(dir, "prometheus"), Targets: targets, RuleFiles: []string{rules}, HonorLabels: true})
	w.must(err)
	w.Cleanup(func() { w.must(prom.Stop()) })
	return prom
}

// alert waits until an alert fires for so many Hosts of the fleet.
func (w *world) alert(name string, want int) {
	w.Helper()
	began := time.Now()
	env.Eventually(w.T, patience, fmt.Sprintf("alert %s fires %d times", name, want), func(ctx context.Context) error {
		alerts, err := w.prom.Alerts(ctx)
		if err != nil {
			return err
		}
		n := 0
		for _, a := range alerts {
			if a.Labels["alertname"] == name && a.Labels["namespace"] == w.ns && a.State == "firing" {
				n++
			}
		}
		if n != want {
			return fmt.Errorf("it fires %d times, want %d", n, want)
		}
		return nil
	})
	w.Logf("after %s: alert %s fires %d times", time.Since(began).Round(time.Millisecond), name, want)
}
