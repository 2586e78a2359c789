package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/test/env"
	"github.com/restic-manager/restic-manager/test/stack"
	"github.com/restic-manager/restic-manager/test/swarm"
)

const (
	namespace = "bench"
	groups    = 10
	schedules = 3
	// patience is for one step: the first connection of ten thousand agents, beside their API server on two cores, takes half an hour.
	patience = 45 * time.Minute
)

// rarely is when schedules fire by themselves: not while this runs, and not so far away that finding it costs more than usual.
var rarely = fmt.Sprintf("0 3 15 %d *", (int(time.Now().Month())+5)%12+1)

// world is the whole operator with its fleet.
type world struct {
	*stack.Stack
	client.Client
	ctx   context.Context
	fleet *swarm.Fleet
	count int
	// touched says that a change has reached all sets, so that they are as in a fleet that is not new.
	touched bool
}

func (w *world) logf(format string, args ...any) { logf(format, args...) }

func newWorld(ctx context.Context, dir string, count, replicas int) (*world, error) {
	w := &world{ctx: ctx, count: count}
	bin, err := stack.Build(ctx)
	if err != nil {
		return nil, err
	}
	if w.Stack, err = stack.Start(ctx, stack.Options{Dir: dir, BinDir: bin, Gateways: replicas, Log: w.logf}); err != nil {
		return nil, err
	}
	if w.Client, err = stack.NewClient(w.CP.RESTConfig()); err != nil {
		return nil, errors.Join(err, w.close())
	}
	return w, nil
}

// settle creates everything and waits until all agents are connected and have acknowledged their sets.
func (w *world) settle() error {
	keys, err := w.SigningKeys(w.ctx)
	if err != nil {
		return err
	}
	var sources []netip.Addr
	for i := range 8 {
		sources = append(sources, netip.AddrFrom4([4]byte{127, 0, 0, byte(2 + i)}))
	}
	var addresses []string
	for _, g := range w.Replicas {
		addresses = append(addresses, g.Address)
	}
	w.fleet, err = swarm.New(swarm.Options{
		URL: w.URL, Addresses: addresses, Namespace: namespace, Count: w.count, SigningKeys: keys, Pins: []string{env.SPKIPin(w.CA.Cert)}, Sources: sources, Rate: 150, Skew: skew,
		Host: func(_ int, h *v1alpha1.Host) { h.Labels = map[string]string{"role": "web"} },
	})
	if err != nil {
		return err
	}
	objects := []client.Object{&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}}
	for i := range groups {
		objects = append(objects, &v1alpha1.SourceGroup{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: groupName(i)}, Spec: v1alpha1.SourceGroupSpec{
			Selector: v1alpha1.Selector{HostSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"role": "web"}}},
			Includes: []string{"/srv/data-" + fmt.Sprint(i)}, Excludes: []string{"*.cache", "/srv/*/tmp"}, Retention: &v1alpha1.Retention{KeepDaily: 7},
		}})
	}
	// Without one, the default would run its operations by the clock: with a thousand Hosts there is always one that is due.
	objects = append(objects, &v1alpha1.RepoMaintenance{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "maintenance"}, Spec: v1alpha1.RepoMaintenanceSpec{
		Selector: v1alpha1.Selector{HostSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"role": "web"}}},
		Forget:   &v1alpha1.Cadence{Cron: rarely}, Check: &v1alpha1.CheckCadence{Cadence: v1alpha1.Cadence{Cron: rarely}},
	}})
	for i := range schedules {
		s := &v1alpha1.Schedule{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: scheduleName(i)}, Spec: v1alpha1.ScheduleSpec{Cron: rarely}}
		for g := i; g < groups; g += schedules {
			s.Spec.SourceGroups = append(s.Spec.SourceGroups, groupName(g))
		}
		objects = append(objects, s)
	}
	for _, o := range objects {
		if err := w.Create(w.ctx, o); err != nil {
			return err
		}
	}
	began := time.Now()
	if err := w.fleet.Create(w.ctx, w.Client); err != nil {
		return err
	}
	w.logf("created %d Hosts in %s", w.count, span(time.Since(began)))
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	if err := w.fleet.Published(ctx, w.Client); err != nil {
		return err
	}
	w.logf("all sets are published after %s", span(time.Since(began)))
	w.fleet.Start()
	if err := w.current(scheduleName(schedules - 1)); err != nil {
		return err
	}
	w.logf("all agents are settled after %s", span(time.Since(began)))
	if err := w.installBare(); err != nil {
		return err
	}
	if err := w.copySets(usual); err != nil {
		return err
	}
	return w.rest()
}

func groupName(i int) string    { return fmt.Sprintf("group-%d", i) }
func scheduleName(i int) string { return fmt.Sprintf("schedule-%d", i) }

// current waits until all agents are connected and idle with a schedule, and the API says that all have applied it.
func (w *world) current(schedule string) error {
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	if err := w.fleet.Wait(ctx, "all agents are settled", swarm.All(swarm.Connected, swarm.Runs(schedule), swarm.Idle)); err != nil {
		return err
	}
	return w.groupApplied(ctx, groupName(0), 0)
}

// groupApplied waits until the status of a SourceGroup says, of a generation at least, that all Hosts have applied it.
func (w *world) groupApplied(ctx context.Context, name string, generation int64) error {
	return w.poll(ctx, "status of SourceGroup "+name, func() (string, error) {
		var g v1alpha1.SourceGroup
		if err := w.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &g); err != nil {
			return "", err
		}
		if g.Status.ObservedGeneration >= generation && g.Status.HostsApplied == int32(w.count) {
			return "", nil
		}
		return fmt.Sprintf("generation %d of %d is applied by %d of %d Hosts", g.Status.ObservedGeneration, generation, g.Status.HostsApplied, w.count), nil
	})
}

// poll looks every 20 ms until nothing is missing.
func (w *world) poll(ctx context.Context, what string, missing func() (string, error)) error {
	return env.Poll(ctx, patience, what, func(context.Context) error {
		said, err := missing()
		if err == nil && said != "" {
			err = errors.New(said)
		}
		return err
	})
}

// rest waits until nothing but Leases has been written for some seconds.
func (w *world) rest() error {
	since := time.Now()
	mark, err := w.CP.AuditMark()
	if err != nil {
		return err
	}
	return w.poll(w.ctx, "the operator has nothing more to write", func() (string, error) {
		if err := sleep(w.ctx, time.Second); err != nil {
			return "", err
		}
		writes, err := w.writes(mark)
		if err != nil {
			return "", err
		}
		if writes.Total() > writes.Of("leases") {
			since = time.Now()
			if mark, err = w.CP.AuditMark(); err != nil {
				return "", err
			}
		}
		if time.Since(since) < 8*time.Second {
			return "it still writes", nil
		}
		return "", nil
	})
}

// writes counts what came into the API server's log since a mark, of the operator alone.
func (w *world) writes(since env.AuditMark) (env.Writes, error) {
	entries, _, err := w.CP.AuditSince(since)
	if err != nil {
		return nil, err
	}
	return env.CountWrites(entries, func(e env.AuditEntry) bool { return e.User != "admin" }), nil
}

// requests counts all of them, reads too.
func (w *world) requests(since env.AuditMark) (string, error) {
	entries, _, err := w.CP.AuditSince(since)
	if err != nil {
		return "", err
	}
	counts := map[string]int{}
	for _, e := range entries {
		if e.User != "admin" {
			counts[strings.TrimSuffix(e.Verb+" "+e.Resource+"/"+e.Subresource, "/")]++
		}
	}
	return fmt.Sprint(counts), nil
}

func (w *world) gatewayPIDs() []int {
	var pids []int
	for _, g := range w.Replicas {
		pids = append(pids, g.PID())
	}
	return pids
}

func (w *world) close() error {
	if w.fleet != nil {
		w.fleet.Stop()
	}
	return w.Stack.Stop()
}
