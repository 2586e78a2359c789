package fleet

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/test/env"
	"github.com/restic-manager/restic-manager/test/scenario"
	"github.com/restic-manager/restic-manager/test/stack"
	"github.com/restic-manager/restic-manager/test/swarm"
)

const (
	// simulated agents, of which the first web back up the group data, and the rest db.
	simulated, web = 300, 200
	// real agents back up data as well.
	real = 3
	// patience is for what takes seconds: machines are busy.
	patience = 120 * time.Second
)

func TestMain(m *testing.M) { os.Exit(env.Main(m)) }

// world is the whole operator with the fleet.
type world struct {
	*testing.T
	*stack.Stack
	client.Client
	agents *swarm.Fleet
	prom   *env.Prometheus
	ns     string
}

func newWorld(t *testing.T, behaviour swarm.Behaviour) *world {
	t.Helper()
	cp := env.Shared(t)
	w := &world{T: t, ns: cp.NewNamespace(t, "fleet")}
	bin, err := stack.Build(t.Context())
	w.must(err)
	dir := t.TempDir()
	w.Stack, err = stack.Start(t.Context(), stack.Options{Dir: dir, BinDir: bin, ControlPlane: cp, Gateways: 2, ControllerArgs: scenario.ControllerArgs()})
	w.must(err)
	t.Cleanup(func() {
		w.must(w.Stack.Stop())
		if t.Failed() {
			w.Stack.ShowLogs(t)
		}
	})
	w.Stack.Spread()
	w.Client, err = w.Stack.Client()
	w.must(err)
	keys, err := w.SigningKeys(t.Context())
	w.must(err)
	w.agents, err = swarm.New(swarm.Options{
		URL: w.URL, Namespace: w.ns, Count: simulated, SigningKeys: keys, Pins: []string{env.SPKIPin(w.CA.Cert)}, Behaviour: behaviour,
		Host: func(i int, h *v1alpha1.Host) {
			h.Labels = map[string]string{"role": "web"}
			if i >= web {
				h.Labels["role"] = "db"
			}
			if i < late {
				h.Labels["tier"] = "gold"
			}
		},
	})
	w.must(err)
	t.Cleanup(w.agents.Stop)
	w.prom = w.prometheus(dir)
	return w
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) create(objects ...client.Object) {
	w.Helper()
	for _, o := range objects {
		o.SetNamespace(w.ns)
		w.must(w.Create(w.Context(), o))
	}
}

// wait until something is true of agents.
func (w *world) wait(what string, agents []*swarm.Agent, ok func(*swarm.Agent) bool) {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), patience)
	defer cancel()
	began := time.Now()
	w.must(w.agents.WaitFor(ctx, what, agents, ok))
	w.Logf("after %s: %s", time.Since(began).Round(time.Millisecond), what)
}

func (w *world) eventually(what string, ok func(ctx context.Context) error) {
	w.Helper()
	env.Eventually(w.T, patience, what, ok)
}

func roleSelector(role string) v1alpha1.Selector {
	return v1alpha1.Selector{HostSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"role": role}}}
}

func group(name, role string, includes ...string) *v1alpha1.SourceGroup {
	return &v1alpha1.SourceGroup{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.SourceGroupSpec{Selector: roleSelector(role), Includes: includes}}
}

// rarely is when schedules fire by themselves: not during a test.
const rarely = "0 3 29 2 *"

func schedule(name, cron string, groups ...string) *v1alpha1.Schedule {
	return &v1alpha1.Schedule{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.ScheduleSpec{Cron: cron, SourceGroups: groups}}
}

// groupIs waits until the status of a SourceGroup is as it should be.
func (w *world) groupIs(name, what string, ok func(*v1alpha1.SourceGroupStatus) bool) *v1alpha1.SourceGroup {
	w.Helper()
	g := &v1alpha1.SourceGroup{}
	w.eventually("SourceGroup "+name+": "+what, func(ctx context.Context) error {
		if err := w.Get(ctx, client.ObjectKey{Namespace: w.ns, Name: name}, g); err != nil {
			return err
		}
		if !ok(&g.Status) {
			return fmt.Errorf("%+v, conditions %+v", g.Status.FleetSummary, g.Status.Conditions)
		}
		return nil
	})
	return g
}

func (w *world) scheduleIs(name, what string, ok func(*v1alpha1.ScheduleStatus) bool) *v1alpha1.Schedule {
	w.Helper()
	s := &v1alpha1.Schedule{}
	w.eventually("Schedule "+name+": "+what, func(ctx context.Context) error {
		if err := w.Get(ctx, client.ObjectKey{Namespace: w.ns, Name: name}, s); err != nil {
			return err
		}
		if !ok(&s.Status) {
			return fmt.Errorf("%+v, conditions %+v", s.Status.FleetSummary, s.Status.Conditions)
		}
		return nil
	})
	return s
}

func isTrue(conditions []metav1.Condition, kind string) bool {
	return meta.IsStatusConditionTrue(conditions, kind)
}

func isFalse(conditions []metav1.Condition, kind string) bool {
	return meta.IsStatusConditionFalse(conditions, kind)
}

// realAgents enrols real machines, with real restic and repositories, for the role web.
func (w *world) realAgents(source string) []string {
	w.Helper()
	ca, err := os.ReadFile(w.CA.CertFile)
	w.must(err)
	var names []string
	for i := range real {
		name := fmt.Sprintf("real-%d", i)
		user := name + "." + w.ns
		password, err := scenario.NewPassword()
		w.must(err)
		w.must(w.Rest.SetUser(user, password))
		secret := &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Name: name + "-repo", Labels: map[string]string{v1alpha1.LabelCredentials: "true"}},
			StringData: map[string]string{"RESTIC_PASSWORD": password + "-repo", "RESTIC_REST_USERNAME": user, "RESTIC_REST_PASSWORD": password},
		}
		host := &v1alpha1.Host{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"role": "web"}}}
		host.Spec.Repository = v1alpha1.Repository{URL: w.Rest.RepositoryURL(user), CredentialsSecretRef: &v1alpha1.LocalReference{Name: secret.Name}, CABundle: string(ca)}
		w.create(secret, host)
		agent, err := w.Enroll(w.Context(), stack.Machine{Namespace: w.ns, Host: name})
		w.must(err)
		w.must(agent.Start(w.Context()))
		w.Cleanup(func() { w.must(agent.Stop()) })
		names = append(names, name)
	}
	w.must(os.MkdirAll(source, 0o755))
	w.must(os.WriteFile(filepath.Join(source, "a"), []byte("content"), 0o644))
	return names
}

// writes counts what the operator wrote in the fleet's namespace since a mark.
func (w *world) writes(mark env.AuditMark) env.Writes {
	w.Helper()
	entries, _, err := w.CP.AuditSince(mark)
	w.must(err)
	return env.CountWrites(entries, env.InNamespace(w.ns), byOperator)
}

func byOperator(e env.AuditEntry) bool {
	return env.ByUser("restic-manager-controller")(e) || env.ByUser("restic-manager-gateway")(e)
}

func (w *world) mark() env.AuditMark {
	w.Helper()
	mark, err := w.CP.AuditMark()
	w.must(err)
	return mark
}

// quiet waits until the operator has written nothing for some polls in a row.
func (w *world) quiet() {
	w.Helper()
	mark, calm := w.mark(), 0
	w.eventually("the operator falls silent", func(context.Context) error {
		if w.writes(mark).Total() > 0 {
			mark, calm = w.mark(), 0
			return fmt.Errorf("it writes")
		}
		if calm++; calm < 120 { // of 50 ms: longer than summaries are held back
			return fmt.Errorf("calm for %d polls", calm)
		}
		return nil
	})
}
