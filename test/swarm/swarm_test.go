package swarm_test

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/test/env"
	"github.com/restic-manager/restic-manager/test/stack"
	"github.com/restic-manager/restic-manager/test/swarm"
)

// patience is for what takes seconds: machines are busy.
const patience = 60 * time.Second

// small is a fleet that comes through the balancer; the agents of a greater one dial the replicas themselves.
const small = 50

// size of the fleet: RESTIC_MANAGER_SWARM in the environment, or small.
func size(t *testing.T) int {
	t.Helper()
	text := os.Getenv("RESTIC_MANAGER_SWARM")
	if text == "" {
		return small
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 20 {
		t.Fatalf("RESTIC_MANAGER_SWARM is %q, want a number of agents, 20 at least", text)
	}
	return n
}

// world is the whole operator with a fleet.
type world struct {
	*testing.T
	*stack.Stack
	client.Client
	*swarm.Fleet
	ns string
	// before the agents were made.
	before memory
}

func newWorld(t *testing.T, options swarm.Options) *world {
	t.Helper()
	cp := env.Shared(t)
	w := &world{T: t, ns: cp.NewNamespace(t, "swarm")}
	bin, err := stack.Build(t.Context())
	w.must(err)
	dir := t.TempDir()
	w.Stack, err = stack.Start(t.Context(), stack.Options{Dir: dir, BinDir: bin, ControlPlane: cp, Gateways: 2, GatewayArgs: []string{"--drain-spread=2s"}})
	w.must(err)
	t.Cleanup(func() {
		w.must(w.Stack.Stop())
		if t.Failed() {
			w.showLogs()
		}
	})
	w.Stack.Spread()
	if options.Count > small {
		for _, replica := range w.Replicas {
			options.Addresses = append(options.Addresses, replica.Address)
		}
		options.Sources = []netip.Addr{netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("127.0.0.3")}
	}
	w.Client, err = w.Stack.Client()
	w.must(err)
	options.URL, options.Namespace = w.URL, w.ns
	options.SigningKeys, err = w.SigningKeys(t.Context())
	w.must(err)
	options.Pins = []string{env.SPKIPin(w.CA.Cert)}
	w.before = memoryNow()
	w.Fleet, err = swarm.New(options)
	w.must(err)
	t.Cleanup(w.Fleet.Stop)
	return w
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) showLogs() {
	files, _ := filepath.Glob(w.LogFile("*"))
	for _, file := range files {
		if raw, err := os.ReadFile(file); err == nil {
			w.Logf("--- end of %s\n%s", filepath.Base(file), raw[max(0, len(raw)-4096):])
		}
	}
}

// patience grows with the fleet.
func (w *world) patience() time.Duration {
	return patience + time.Duration(len(w.Agents()))*200*time.Millisecond
}

// wait until something is true of agents.
func (w *world) wait(what string, agents []*swarm.Agent, ok func(*swarm.Agent) bool) {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), w.patience())
	defer cancel()
	began := time.Now()
	w.must(w.WaitFor(ctx, what, agents, ok))
	w.Logf("after %s: %s", time.Since(began).Round(time.Millisecond), what)
}

// group makes a SourceGroup and a Schedule of hosts with a role.
func (w *world) group(name, role, schedule string) {
	w.Helper()
	group := &v1alpha1.SourceGroup{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: name}, Spec: v1alpha1.SourceGroupSpec{
		Selector: v1alpha1.Selector{HostSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"role": role}}}, Includes: []string{"/" + name}}}
	w.must(w.Create(w.Context(), group))
	w.must(w.Create(w.Context(), &v1alpha1.Schedule{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: schedule},
		Spec: v1alpha1.ScheduleSpec{Cron: "0 3 1 1 *", SourceGroups: []string{name}}}))
}

func (w *world) Create(ctx context.Context, o client.Object) error { return w.Client.Create(ctx, o) }

// results counts the Hosts by the result of a group that has this nominal time's job.
func (w *world) results(ctx context.Context, schedule, group, nominal string) (map[v1alpha1.JobResult]int, error) {
	var hosts v1alpha1.HostList
	if err := w.List(ctx, &hosts, client.InNamespace(w.ns)); err != nil {
		return nil, err
	}
	counts := map[v1alpha1.JobResult]int{}
	for _, h := range hosts.Items {
		job := wire.FireID(wire.HostRef{Namespace: h.Namespace, Name: h.Name}, schedule, group, nominal)
		for _, g := range h.Status.SourceGroups {
			if g.Name == group && g.JobID == job {
				counts[g.Result]++
			}
		}
	}
	return counts, nil
}

func (w *world) job(name string, spec v1alpha1.HostJobSpec) *v1alpha1.HostJob {
	w.Helper()
	job := &v1alpha1.HostJob{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: name}, Spec: spec}
	w.must(w.Create(w.Context(), job))
	return job
}

func (w *world) phase(job *v1alpha1.HostJob, want v1alpha1.HostJobPhase) {
	w.Helper()
	env.Eventually(w.T, patience, fmt.Sprintf("HostJob %s is %s", job.Name, want), func(ctx context.Context) error {
		if err := w.Get(ctx, client.ObjectKeyFromObject(job), job); err != nil {
			return err
		}
		if job.Status.Phase != want {
			return fmt.Errorf("status is %+v", job.Status)
		}
		return nil
	})
}

// memory is what this process holds, in KB, and its goroutines.
type memory struct{ heap, stack, goroutines float64 }

func memoryNow() memory {
	// Stacks shrink by half with each collection, down to a size that fits.
	for range 5 {
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return memory{float64(m.HeapAlloc) / 1024, float64(m.StackInuse) / 1024, float64(runtime.NumGoroutine())}
}

// since is the growth per agent.
func (m memory) since(before memory, agents int) string {
	n := float64(agents)
	return fmt.Sprintf("%.1f KB of heap, %.1f KB of stacks, %.1f goroutines", (m.heap-before.heap)/n, (m.stack-before.stack)/n, (m.goroutines-before.goroutines)/n)
}

func TestAFleetLivesThroughLabelsFiresAndADrain(t *testing.T) {
	n := size(t)
	w := newWorld(t, swarm.Options{
		Count: n,
		Host:  func(_ int, h *v1alpha1.Host) { h.Labels = map[string]string{"role": "web"} },
		Behaviour: swarm.Behaviour{Job: func(j swarm.Job) swarm.Result {
			switch {
			case j.Ref.Kind == wire.JobCheck:
				return swarm.Result{Took: time.Hour}
			case j.Command != nil:
				return swarm.Succeeded()
			case j.Agent.Index()%10 == 1:
				return swarm.Failed(wire.ReasonUnreachable, "The repository cannot be reached.")
			case j.Agent.Index()%10 == 2:
				return swarm.CompletedWithErrors("/data/locked")
			default:
				return swarm.Succeeded()
			}
		}},
	})
	w.group("data", "web", "nightly")
	w.group("dumps", "db", "weekly")
	w.must(w.Fleet.Create(t.Context(), w.Client))
	ctx, cancel := context.WithTimeout(t.Context(), w.patience())
	defer cancel()
	w.must(w.Published(ctx, w.Client))
	all := w.Agents()

	w.Start()
	w.wait("all are connected and run the schedule of their label", all, swarm.All(swarm.Connected, swarm.Runs("nightly"), swarm.Idle))
	t.Logf("each of %d agents: %s", n, memoryNow().since(w.before, n))
	held := map[string]int{}
	for _, a := range all {
		held[a.Gateway()]++
	}
	for _, replica := range w.Replicas {
		if held[replica.Instance] == 0 {
			t.Errorf("%s holds no agent: %v", replica.Instance, held)
		}
	}

	mark, err := w.CP.AuditMark()
	w.must(err)
	const nominal = "2026-03-01T02:30"
	if fired := w.Fire("nightly", "data", nominal); fired != n {
		t.Errorf("%d agents fired, want %d", fired, n)
	}
	w.wait("all fires are answered and their results stored", all, swarm.Idle)
	counts, tenth := w.Counts(), n/10
	if counts.Fires != int64(n) || counts.Admitted != int64(n) || counts.ReportsDiscarded != 0 || counts.Waiting != 0 {
		t.Errorf("counts are %+v", counts)
	}
	entries, _, err := w.CP.AuditSince(mark)
	w.must(err)
	t.Logf("writes for %d results:\n%s", n, env.CountWrites(entries, env.InNamespace(w.ns)))
	got, err := w.results(t.Context(), "nightly", "data", nominal)
	w.must(err)
	want := fmt.Sprint(map[v1alpha1.JobResult]int{v1alpha1.ResultSucceeded: n - 2*tenth, v1alpha1.ResultFailed: tenth, v1alpha1.ResultCompletedWithErrors: tenth})
	if fmt.Sprint(got) != want {
		t.Errorf("results in Host status are %v, want %s", got, want)
	}

	moving := all[0]
	host := &v1alpha1.Host{}
	w.must(w.Get(t.Context(), client.ObjectKey{Namespace: w.ns, Name: moving.Name()}, host))
	var base client.Object = host.DeepCopy()
	host.Labels["role"] = "db"
	w.must(w.Patch(t.Context(), host, client.MergeFrom(base)))
	w.wait("a label moves an agent from one schedule to another", all[:1], func(a *swarm.Agent) bool { return swarm.Runs("weekly")(a) && !swarm.Runs("nightly")(a) })
	if changed := w.Counts().SetsChanged - counts.SetsChanged; changed != 1 {
		t.Errorf("%d sets changed with one label, want 1", changed)
	}

	one := v1alpha1.LocalReference{Name: all[1].Name()}
	now := w.job("now", v1alpha1.HostJobSpec{HostRef: one, Kind: v1alpha1.HostJobBackup, Backup: &v1alpha1.BackupJob{SourceGroup: "data"}})
	w.phase(now, v1alpha1.JobSucceeded)
	if now.Status.Result.Backup.SnapshotID == "" {
		t.Errorf("a simulated backup has no snapshot: %+v", now.Status.Result)
	}
	long := w.job("long", v1alpha1.HostJobSpec{HostRef: one, Kind: v1alpha1.HostJobCheck})
	w.phase(long, v1alpha1.JobRunning)
	base = long.DeepCopyObject().(client.Object)
	long.Spec.Cancel = true
	w.must(w.Patch(t.Context(), long, client.MergeFrom(base)))
	w.phase(long, v1alpha1.JobCancelled)

	away := all[3]
	away.Disconnect()
	away.Report(&wire.JobFinished{Job: wire.JobRef{JobID: "by-hand", Kind: wire.JobBackup, SourceGroup: "data"}, Outcome: wire.OutcomeFailed, Reason: wire.ReasonUnreachable,
		Message: "The machine has no network.", ExitCode: -1, FinishedAt: time.Now().UTC()})
	if away.Connected() || away.Waiting() != 1 {
		t.Errorf("a disconnected agent: %s", away)
	}
	away.Reconnect()
	w.wait("what an agent did while it was away is stored", all[3:4], swarm.All(swarm.Connected, swarm.Idle))
	w.must(w.Get(t.Context(), client.ObjectKey{Namespace: w.ns, Name: away.Name()}, host))
	if g := host.Status.SourceGroups; len(g) != 1 || g[0].JobID != "by-hand" {
		t.Errorf("results are %+v", g)
	}

	if n > small {
		w.Fleet.Spread(w.Replicas[1].Address)
	}
	w.must(w.Drain(w.Replicas[0]))
	w.wait("the agents of a replica that is drained are with the other one", all, func(a *swarm.Agent) bool { return a.Gateway() == w.Replicas[1].Instance })
	if c := w.Counts(); c.Reconnects < int64(held[w.Replicas[0].Instance]) {
		t.Errorf("%d reconnects, and replica 0 held %d agents", c.Reconnects, held[w.Replicas[0].Instance])
	}
	t.Logf("at the end: %+v; ended: %v", w.Counts(), w.Endings())
}
