package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/test/env"
	"github.com/restic-manager/restic-manager/test/stack"
)

// privateLine has an agent reach the gateway over a line that only this test cuts.
func (w *world) privateLine(a *stack.Agent) *stack.Balancer {
	w.Helper()
	line, err := stack.NewBalancer(w.Replicas[0].Address)
	w.must(err)
	w.Cleanup(func() {
		if err := line.Close(); err != nil {
			w.Error(err)
		}
	})
	raw, err := os.ReadFile(a.Config)
	w.must(err)
	w.must(os.WriteFile(a.Config, []byte(replaceOnce(w.T, string(raw), w.URL, "https://"+line.Address())), 0o600))
	return line
}

func TestAMachineWithoutItsGatewayBacksUpOrWaitsAsItsSchedulesSay(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "autonomy")
	w.host("one")
	w.group("runs", "one", w.files("one", "a"))
	w.group("waits", "one", w.files("one", "b"))
	w.schedule("run", everyMinute, "runs")
	wait := &v1alpha1.Schedule{ObjectMeta: metav1.ObjectMeta{Name: "wait"}, Spec: v1alpha1.ScheduleSpec{
		Cron: everyMinute, SourceGroups: []string{"waits"}, WhenDisconnected: v1alpha1.WhenDisconnectedWait,
	}}
	w.create(wait)
	a, err := w.Enroll(t.Context(), stack.Machine{Namespace: w.ns, Host: "one"})
	w.must(err)
	line := w.privateLine(a)
	w.start(a)
	w.settled("one")
	w.applied(wait)

	line.Point("")
	line.Cut()
	cut := time.Now()
	log := func() string {
		raw, err := os.ReadFile(w.LogFile(a.Name))
		w.must(err)
		return string(raw)
	}
	t.Log("waiting for the next full minute without a gateway")
	env.Eventually(t, 3*time.Minute, "a backup without a verdict, and one that waits", func(context.Context) error {
		text := log()
		if !strings.Contains(text, "starts without a verdict") {
			return errors.New("no backup started without a verdict yet")
		}
		if !strings.Contains(text, "waits for the gateway") {
			return errors.New("no backup waits yet")
		}
		return nil
	})
	before := w.mustHost("one")
	for _, g := range before.Status.SourceGroups {
		if g.StartTime != nil && g.StartTime.After(cut) {
			t.Errorf("a result came through a line that is cut: %+v", g)
		}
	}
	line.Point(w.Replicas[0].Address)
	env.Eventually(t, 3*time.Minute, "the backup that waited", func(ctx context.Context) error {
		h, err := get(ctx, w, "one", &v1alpha1.Host{})
		if err != nil {
			return err
		}
		for _, g := range h.Status.SourceGroups {
			if g.Name == "waits" && g.Result == v1alpha1.ResultSucceeded && g.StartTime.After(cut) {
				return nil
			}
		}
		return fmt.Errorf("results are %+v", h.Status.SourceGroups)
	})
	w.result("one", "runs", "of the backup that ran meanwhile", func(r v1alpha1.SourceGroupResult) bool {
		return r.Schedule == "run" && r.Result == v1alpha1.ResultSucceeded
	})
}
