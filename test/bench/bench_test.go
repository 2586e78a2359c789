package main

import (
	"os"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/test/swarm"
)

// few agents show what does not depend on speed: numbers of writes, and bytes.
const few = 200

func TestMain(m *testing.M) {
	if _, ok := role(os.Args); ok {
		main()
		return
	}
	os.Exit(m.Run())
}

func TestWhatDoesNotDependOnTheMachine(t *testing.T) {
	w, err := newWorld(t.Context(), t.TempDir(), few, 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			w.ShowLogs(t)
		}
		if err := w.close(); err != nil {
			t.Error(err)
		}
	})
	if err := w.settle(); err != nil {
		t.Fatal(err)
	}
	for _, scene := range []scene{{name: "backups", run: backups}, {name: "store", run: store}} {
		rows, err := scene.run(w)
		if err != nil {
			t.Fatalf("scene %s: %v", scene.name, err)
		}
		t.Logf("scene %s\n%s", scene.name, terminal(rows))
		for _, r := range rows {
			if r.holds != nil && !*r.holds {
				t.Errorf("%s is %s, want %s (%s)", r.what, r.ours, r.bar, r.note)
			}
		}
	}
	t.Run("a quiet fleet writes nothing but Leases", w.quiet)
	t.Run("a change costs as much for each Host that it touches, however many they are", w.grows)
	t.Run("a restart of the controllers publishes nothing", w.restarts)
}

// quiet waits for some heartbeats' worth of time; what could be written late has been by then.
func (w *world) quiet(t *testing.T) {
	if err := w.rest(); err != nil {
		t.Fatal(err)
	}
	mark, err := w.CP.AuditMark()
	if err != nil {
		t.Fatal(err)
	}
	before := w.fleet.Counts()
	if err := sleep(t.Context(), 20*time.Second); err != nil {
		t.Fatal(err)
	}
	writes, err := w.writes(mark)
	if err != nil {
		t.Fatal(err)
	}
	if n := writes.Total() - writes.Of("leases"); n != 0 {
		t.Errorf("%d writes:\n%s", n, writes)
	}
	if after := w.fleet.Counts(); after.Connected != few || after.Sessions != before.Sessions {
		t.Errorf("the fleet was not quiet: %+v before, %+v after", before, after)
	}
}

// grows changes a group of a quarter of the fleet, and one of all.
func (w *world) grows(t *testing.T) {
	for _, a := range w.fleet.Agents()[:few/4] {
		host := &v1alpha1.Host{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: a.Name()}}
		if err := w.Patch(t.Context(), host, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":{"quarter":"yes"}}}`))); err != nil {
			t.Fatal(err)
		}
	}
	quarter := &v1alpha1.SourceGroup{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "quarter"}, Spec: v1alpha1.SourceGroupSpec{
		Selector: v1alpha1.Selector{HostSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"quarter": "yes"}}}, Includes: []string{"/srv/quarter"},
	}}
	if err := w.Create(t.Context(), quarter); err != nil {
		t.Fatal(err)
	}
	if err := w.rest(); err != nil {
		t.Fatal(err)
	}
	some := w.changed(t, "quarter", few/4)
	all := w.changed(t, groupName(0), few)
	t.Logf("writes for each Host: %.2f of %d, %.2f of %d", some, few/4, all, few)
	if all > some*1.1 || all > 2.5 {
		t.Errorf("a change costs %.2f writes for each of %d Hosts, and %.2f for each of %d; want no more, and 2.5 at most", all, few, some, few/4)
	}
}

// changed is what a change of a group costs in writes for each Host of it.
func (w *world) changed(t *testing.T, group string, hosts int) float64 {
	t.Helper()
	mark, err := w.CP.AuditMark()
	if err != nil {
		t.Fatal(err)
	}
	path := "/srv/" + group + "/" + strings.ReplaceAll(time.Now().Format(time.RFC3339Nano), ":", "-")
	object := &v1alpha1.SourceGroup{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: group}}
	if err := w.Patch(t.Context(), object, client.RawPatch(types.MergePatchType, []byte(`{"spec":{"includes":["`+path+`"]}}`))); err != nil {
		t.Fatal(err)
	}
	if err := w.fleet.WaitFor(t.Context(), "the agents have the change", w.fleet.Agents()[:hosts], func(a *swarm.Agent) bool { return includes(a, path) }); err != nil {
		t.Fatal(err)
	}
	if err := w.rest(); err != nil {
		t.Fatal(err)
	}
	writes, err := w.writes(mark)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("writes:\n%s", writes)
	return float64(writes.Of("schedulesets")+writes.Of("schedulesets/status")+writes.Of("hosts/status")) / float64(hosts)
}

func (w *world) restarts(t *testing.T) {
	if err := w.rest(); err != nil {
		t.Fatal(err)
	}
	mark, err := w.CP.AuditMark()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Controller.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := w.Controller.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := w.rest(); err != nil {
		t.Fatal(err)
	}
	writes, err := w.writes(mark)
	if err != nil {
		t.Fatal(err)
	}
	// Who leads now is told by an Event.
	if n := writes.Total() - writes.Of("leases") - writes.Of("events"); n != 0 {
		t.Errorf("%d writes:\n%s", n, writes)
	}
}

func TestThePairsTellOrLeaveOpen(t *testing.T) {
	fifteen := make([]float64, 15)
	for i := range fifteen {
		fifteen[i] = 1 + float64(i)/100
	}
	for name, c := range map[string]struct {
		each      []float64
		limit     float64
		low, high float64
		want      string
	}{
		"all below":      {fifteen, 1.2, 1.02, 1.12, "yes"},
		"all above":      {fifteen, 1.01, 1.02, 1.12, "no"},
		"not to be told": {fifteen, 1.1, 1.02, 1.12, "open"},
		"one alone":      {[]float64{1}, 1.1, 1, 1, "yes"},
	} {
		t.Run(name, func(t *testing.T) {
			p := pairwise{row: row{ratio: quantile(c.each, 50)}}
			p.low, p.high = interval(c.each)
			p.judge(c.limit)
			if got := p.cells()[5]; got != c.want || p.low != c.low || p.high != c.high {
				t.Errorf("%s, between %v and %v; want %s, %v and %v", got, p.low, p.high, c.want, c.low, c.high)
			}
		})
	}
}
