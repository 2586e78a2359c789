package maintenance

import (
	"cmp"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/restic-manager/restic-manager/api/cronspec"
	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/controllers/compile"
)

// Repository is what is known of a repository.
type Repository struct {
	// Hosts that share it, oldest first, as Sharing returns them; never empty.
	Hosts []*v1alpha1.Host
	// Maintenances of the namespace: at least those that select one of Hosts.
	Maintenances *Index
	// Executor is the Host that the RepoMaintenance in force names; nil when it names none, or there is none of that name.
	Executor *v1alpha1.Host
	// Jobs on the repository: those whose target is one of Hosts.
	Jobs []*v1alpha1.HostJob
	// Groups of the namespace.
	Groups []v1alpha1.SourceGroup
}

// Tasks are the operations of the repository: forget, prune and check once, verify for each host. Those that are not asked for are among them.
func (r *Repository) Tasks(now time.Time) []Task {
	through, m := r.Maintenances.InForceForRepository(r.Hosts)
	var tasks []Task
	for _, o := range Operations {
		if !o.PerHost() {
			tasks = append(tasks, r.shared(o, through, m, now))
			continue
		}
		for _, host := range r.Hosts {
			tasks = append(tasks, r.ownTask(o, host, now))
		}
	}
	return tasks
}

// shared is a task that is done once for all hosts.
func (r *Repository) shared(o Operation, through *v1alpha1.Host, m *v1alpha1.RepoMaintenance, now time.Time) Task {
	t := Task{Operation: o, Past: r.past(o, nil, now)}
	anchor := Anchor(r.Hosts)
	if !t.schedule(m, anchor) {
		return t
	}
	t.Jitter = jitter(m, anchor.Namespace, Key(anchor))
	if o == Forget {
		t.NothingToDo = func() bool {
			groups, _ := compile.ForgetGroups(r.Hosts, r.Groups, "")
			return len(groups) == 0
		}
	}
	if t.Hold == "" {
		t.Executor, t.Target, t.Hold = r.assign(o, through, m)
	}
	return t
}

// ownTask is a task that a machine does for itself.
func (r *Repository) ownTask(o Operation, host *v1alpha1.Host, now time.Time) Task {
	t := Task{Operation: o, Host: host.Name, Past: r.past(o, host, now), Target: host}
	m := r.Maintenances.InForce(host)
	if !t.schedule(m, host) {
		return t
	}
	t.Jitter = jitter(m, host.Namespace, host.Name+"\n"+Key(host))
	// A host without a backup has nothing that could be restored.
	t.NothingToDo = func() bool {
		return host.Status.LastSuccessTime == nil || len(compile.VerifyGroups(host, r.Groups, "")) == 0
	}
	switch {
	case t.Hold != "":
	case host.Spec.Suspend:
		t.Hold = HostSuspended
	case !everConnected(host):
		t.Hold = NeverConnected
	case connected(host):
		t.Executor = host
	}
	return t
}

// schedule fills in when the task runs; false when it is not asked for.
func (t *Task) schedule(m *v1alpha1.RepoMaintenance, oldest *v1alpha1.Host) bool {
	if m == nil {
		return false
	}
	t.Maintenance = m
	cadence := t.Operation.CadenceOf(&m.Spec)
	if cadence == nil {
		return false
	}
	spec, err := cronspec.Parse(cadence.Cron, m.Spec.TimeZone)
	if err != nil {
		return false // one that is in force is valid
	}
	t.Cadence = spec
	t.Since = m.CreationTimestamp.Time
	if made := oldest.CreationTimestamp.Time; made.After(t.Since) {
		t.Since = made
	}
	if m.Spec.Suspend || cadence.Suspend {
		t.Hold = Suspended
	}
	return true
}

// jitter in whole seconds, as times are stored.
func jitter(m *v1alpha1.RepoMaintenance, namespace, of string) time.Duration {
	if m.Spec.Jitter == nil {
		return 0
	}
	return cronspec.Jitter(cronspec.JitterKey(namespace, of, "maintenance"), m.Spec.Jitter.Duration).Truncate(time.Second)
}

// assign says which machine does a shared operation, and for which Host. The executor is nil while no machine that could do it is connected.
func (r *Repository) assign(o Operation, through *v1alpha1.Host, m *v1alpha1.RepoMaintenance) (executor, target *v1alpha1.Host, hold Why) {
	if !slices.ContainsFunc(r.Hosts, everConnected) {
		return nil, nil, NeverConnected
	}
	if m.Spec.ExecutorRef != nil {
		return r.assignExecutor(o, through, m)
	}
	// Each machine may do it for all, but where people mean an executor to do it.
	able := filter(r.Hosts, func(h *v1alpha1.Host) bool { return !r.executedElsewhere(h) })
	if len(able) == 0 {
		return nil, nil, ExecutorElsewhere
	}
	if able = filter(able, func(h *v1alpha1.Host) bool { return !h.Spec.Suspend }); len(able) == 0 {
		return nil, nil, HostSuspended
	}
	if o == Prune {
		if able = filter(able, adminBound); len(able) == 0 {
			return nil, nil, NoAdminCredentials
		}
	}
	able = filter(able, connected)
	if len(able) == 0 {
		return nil, nil, ""
	}
	best := slices.MinFunc(able, func(a, b *v1alpha1.Host) int {
		return cmp.Or(preferAdmin(o, a, b), cmp.Compare(a.Name, b.Name))
	})
	return best, best, ""
}

// executedElsewhere tells whether a RepoMaintenance keeps a machine from doing maintenance: the one in force names another executor, or an invalid one of
// people's does.
func (r *Repository) executedElsewhere(host *v1alpha1.Host) bool {
	inForce := r.Maintenances.InForce(host)
	return slices.ContainsFunc(r.Maintenances.Selecting(host), func(m *v1alpha1.RepoMaintenance) bool {
		ref := m.Spec.ExecutorRef
		return ref != nil && ref.Name != host.Name && (m == inForce || !IsDefault(m) && CheckSpec(&m.Spec) != nil)
	})
}

// assignExecutor is for a RepoMaintenance that names a machine for all. The target is the host through which it counts: its admin credentials are used.
func (r *Repository) assignExecutor(o Operation, through *v1alpha1.Host, m *v1alpha1.RepoMaintenance) (executor, target *v1alpha1.Host, hold Why) {
	switch {
	case !slices.ContainsFunc(r.Hosts, func(h *v1alpha1.Host) bool { return !h.Spec.Suspend }):
		return nil, through, HostSuspended
	case o == Prune && !adminBound(through):
		return nil, through, NoAdminCredentials
	case r.Executor == nil:
		return nil, through, ExecutorNotFound
	case r.Executor.Spec.Suspend:
		return nil, through, HostSuspended
	case !connected(r.Executor):
		return nil, through, ""
	}
	return r.Executor, through, ""
}

// AdminBound tells whether a repository can be pruned: the host whose admin credentials an executor gets names some, or, without an executor, any of the
// hosts that may do it.
func AdminBound(sharing []*v1alpha1.Host, through *v1alpha1.Host, m *v1alpha1.RepoMaintenance) bool {
	if m.Spec.ExecutorRef != nil {
		return adminBound(through)
	}
	return slices.ContainsFunc(sharing, adminBound)
}

// preferAdmin puts hosts with admin credentials first where these are used.
func preferAdmin(o Operation, a, b *v1alpha1.Host) int {
	if o == Check {
		return 0
	}
	return compareBools(!adminBound(a), !adminBound(b))
}

func adminBound(host *v1alpha1.Host) bool {
	return host.Spec.Repository.AdminCredentialsSecretRef != nil
}

func connection(host *v1alpha1.Host) *metav1.Condition {
	return meta.FindStatusCondition(host.Status.Conditions, v1alpha1.ConditionConnected)
}

func connected(host *v1alpha1.Host) bool {
	c := connection(host)
	return c != nil && c.Status == metav1.ConditionTrue
}

func connectedSince(host *v1alpha1.Host) time.Time {
	if c := connection(host); c != nil && c.Status == metav1.ConditionTrue {
		return c.LastTransitionTime.Time
	}
	return time.Time{}
}

// everConnected is false before a machine's first session: it cannot have made its repository.
func everConnected(host *v1alpha1.Host) bool {
	c := connection(host)
	return c != nil && c.Reason != v1alpha1.ReasonNeverConnected
}

func filter(hosts []*v1alpha1.Host, keep func(*v1alpha1.Host) bool) []*v1alpha1.Host {
	var kept []*v1alpha1.Host
	for _, h := range hosts {
		if keep(h) {
			kept = append(kept, h)
		}
	}
	return kept
}
