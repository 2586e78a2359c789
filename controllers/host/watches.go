package host

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/controllers/compile"
	"github.com/restic-manager/restic-manager/controllers/internal/selecting"
	"github.com/restic-manager/restic-manager/controllers/internal/tidings"
)

// Field indexes of the cache.
const (
	indexSecret  = "spec.repository.credentialsSecretRef.name"
	indexGateway = "status.connection.gateway"
)

// SetupWithManager makes the reconciler run in mgr, whose cache has the indexes of package selecting. It adds r.Gateways to mgr as well.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	for _, index := range []struct {
		object client.Object
		name   string
		keys   client.IndexerFunc
	}{
		{&v1alpha1.Host{}, indexSecret, bySecret},
		{&v1alpha1.ScheduleSet{}, indexGateway, byGateway},
	} {
		if err := mgr.GetFieldIndexer().IndexField(context.Background(), index.object, index.name, index.keys); err != nil {
			return fmt.Errorf("indexing %T: %w", index.object, err)
		}
	}
	if err := mgr.Add(r.Gateways); err != nil {
		return err
	}
	hosts := ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.Host{}, builder.WithPredicates(hostChanged)).
		Watches(&v1alpha1.ScheduleSet{}, &handler.EnqueueRequestForObject{}, builder.WithPredicates(setChanged)). // of its name
		Watches(&v1alpha1.SourceGroup{}, handler.EnqueueRequestsFromMapFunc(r.hostsOfGroup), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&v1alpha1.Schedule{}, handler.EnqueueRequestsFromMapFunc(r.hostsOfSchedule), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&v1alpha1.RepoMaintenance{}, handler.EnqueueRequestsFromMapFunc(r.hostsOfMaintenance), builder.WithPredicates(maintenanceChanged, sinceStart)).
		Watches(&corev1.Secret{}, handler.EnqueueRequestsFromMapFunc(r.hostsOfSecret), builder.WithPredicates(secretChanged)).
		WatchesRawSource(source.Channel(r.Gateways.changes, handler.EnqueueRequestsFromMapFunc(r.hostsOfGateway)))
	for _, n := range r.News {
		hosts.WatchesRawSource(n.Source(tidings.Every(r.Client, &v1alpha1.HostList{}, &v1alpha1.ScheduleSetList{}))) // of a removed Host only the set is left
	}
	if !r.Limited {
		hosts.Watches(&corev1.Namespace{}, handler.EnqueueRequestsFromMapFunc(r.setsOfNamespace), builder.OnlyMetadata, builder.WithPredicates(namespaceEnds))
	}
	return hosts.
		WithOptions(controller.Options{MaxConcurrentReconciles: cmp.Or(r.MaxConcurrent, 4)}).
		Complete(r)
}

func bySecret(object client.Object) []string {
	host, ok := object.(*v1alpha1.Host)
	if !ok {
		return nil
	}
	names := []string{host.CredentialsSecretName()}
	if ref := host.Spec.Repository.AdminCredentialsSecretRef; ref != nil && ref.Name != names[0] {
		names = append(names, ref.Name)
	}
	return names
}

// byGateway leaves out sessions that have ended: whether their replica lives does not matter.
func byGateway(object client.Object) []string {
	set, ok := object.(*v1alpha1.ScheduleSet)
	if !ok || set.Status.Connection == nil || set.Status.Connection.DisconnectedTime != nil {
		return nil
	}
	return []string{set.Status.Connection.Gateway}
}

// hostChanged passes what a Host's reconciliation looks at: of results only when and how. The conditions, which it writes itself, come back once, so
// that those which were computed from a stale copy are mended.
var hostChanged = predicate.Funcs{
	UpdateFunc: func(e event.UpdateEvent) bool {
		before, ok := e.ObjectOld.(*v1alpha1.Host)
		if !ok {
			return false
		}
		after, ok := e.ObjectNew.(*v1alpha1.Host)
		return ok && !equality.Semantic.DeepEqual(lookedAt(before), lookedAt(after))
	},
}

func lookedAt(host *v1alpha1.Host) *v1alpha1.Host {
	health := &v1alpha1.MaintenanceStatus{}
	if m := host.Status.Maintenance; m != nil {
		health.Check, health.Verify = outcome(m.Check), outcome(m.Verify)
	}
	return &v1alpha1.Host{
		ObjectMeta: metav1.ObjectMeta{UID: host.UID, Generation: host.Generation, Labels: host.Labels, Annotations: host.Annotations, DeletionTimestamp: host.DeletionTimestamp},
		Status: v1alpha1.HostStatus{
			Conditions: host.Status.Conditions, Enrollment: host.Status.Enrollment, EnrollmentRequest: host.Status.EnrollmentRequest, Agent: host.Status.Agent, Repository: repositoryState(host.Status.Repository),
			MintedCredentials: host.Status.MintedCredentials, Maintenance: health, SourceGroups: timesOf(host.Status.SourceGroups),
			Schedules: host.Status.Schedules, Overdue: host.Status.Overdue,
		},
	}
}

// timesOf leaves of results what tells whether backups are overdue.
func timesOf(results []v1alpha1.SourceGroupResult) []v1alpha1.SourceGroupResult {
	times := make([]v1alpha1.SourceGroupResult, 0, len(results))
	for i := range results {
		r := &results[i]
		times = append(times, v1alpha1.SourceGroupResult{
			Name: r.Name, Result: r.Result, Reason: r.Reason, StartTime: r.StartTime, FinishTime: r.FinishTime, LastSuccessTime: r.LastSuccessTime,
		})
	}
	return times
}

// outcome leaves out when an operation is due.
func outcome(o *v1alpha1.OperationStatus) *v1alpha1.OperationStatus {
	if o == nil {
		return nil
	}
	return &v1alpha1.OperationStatus{Result: o.Result, Reason: o.Reason, Message: o.Message, FinishTime: o.FinishTime, LastSuccessTime: o.LastSuccessTime}
}

// repositoryState leaves out the sizes, which come after each backup.
func repositoryState(r *v1alpha1.RepositoryStatus) *v1alpha1.RepositoryStatus {
	if r == nil {
		return nil
	}
	state := *r
	state.Stats, state.LockPresent = nil, false
	return &state
}

// setChanged passes what the conditions follow from, and every change of a spec, which nobody else may make.
var setChanged = predicate.Funcs{
	UpdateFunc: func(e event.UpdateEvent) bool {
		before, ok := e.ObjectOld.(*v1alpha1.ScheduleSet)
		if !ok {
			return false
		}
		after, ok := e.ObjectNew.(*v1alpha1.ScheduleSet)
		return ok && (before.Generation != after.Generation || !equality.Semantic.DeepEqual(acked(before), acked(after)))
	},
}

// acked leaves out the session's number and process: a reconnect to the same replica changes no condition.
func acked(set *v1alpha1.ScheduleSet) *v1alpha1.ScheduleSetStatus {
	status := &v1alpha1.ScheduleSetStatus{AppliedRevision: set.Status.AppliedRevision, Refusal: set.Status.Refusal, Duplicate: set.Status.Duplicate, NotAllowed: set.Status.NotAllowed, Agent: set.Status.Agent}
	if c := set.Status.Connection; c != nil {
		status.Connection = &v1alpha1.Connection{Gateway: c.Gateway, DisconnectedTime: c.DisconnectedTime}
	}
	return status
}

var secretChanged = predicate.Funcs{
	UpdateFunc: func(e event.UpdateEvent) bool {
		before, ok := e.ObjectOld.(*corev1.Secret)
		if !ok {
			return false
		}
		after, ok := e.ObjectNew.(*corev1.Secret)
		return ok && (!equality.Semantic.DeepEqual(before.Data, after.Data) ||
			before.Annotations[v1alpha1.AnnotationExported] != after.Annotations[v1alpha1.AnnotationExported])
	},
}

// maintenanceChanged passes what decides which RepoMaintenance counts: the spec, and whether it was made by default.
var maintenanceChanged = predicate.Or(predicate.GenerationChangedPredicate{}, predicate.LabelChangedPredicate{})

// sinceStart drops what is there when the controllers start: each Host is looked at then by itself.
var sinceStart = predicate.Funcs{CreateFunc: func(e event.CreateEvent) bool { return !e.IsInInitialList }}

// hostsOfMaintenance is asked for the RepoMaintenance before and after a change: it may count for all Hosts that share a repository with one that it
// selects. A Host without admin credentials says nothing of it.
func (r *Reconciler) hostsOfMaintenance(ctx context.Context, object client.Object) []ctrl.Request {
	m, ok := object.(*v1alpha1.RepoMaintenance)
	if !ok {
		return nil
	}
	selected, err := selecting.Hosts(ctx, r.Client, m.Namespace, m.Spec.Selector)
	if err == nil {
		selected, err = selecting.Sharing(ctx, r.Client, selected)
	}
	if err != nil {
		log.FromContext(ctx).Error(err, "listing the Hosts that a RepoMaintenance concerns", "maintenance", client.ObjectKeyFromObject(m))
		return nil
	}
	return requestsFor(slices.DeleteFunc(selected, func(h v1alpha1.Host) bool { return h.Spec.Repository.AdminCredentialsSecretRef == nil }))
}

// hostsOfGroup is asked for the group before and after a change.
func (r *Reconciler) hostsOfGroup(ctx context.Context, object client.Object) []ctrl.Request {
	group, ok := object.(*v1alpha1.SourceGroup)
	if !ok {
		return nil
	}
	return requestsFor(r.hostsIn(ctx, group))
}

// hostsOfSchedule is asked for the schedule before and after a change. An invalid one is for no host, and so is one whose groups are all missing: then
// it is the coming of the group, or the change back, that concerns a host.
func (r *Reconciler) hostsOfSchedule(ctx context.Context, object client.Object) []ctrl.Request {
	schedule, ok := object.(*v1alpha1.Schedule)
	if !ok {
		return nil
	}
	if len(compile.CheckSchedule(schedule)) > 0 {
		return nil
	}
	var found []v1alpha1.Host
	for _, name := range schedule.Spec.SourceGroups {
		group := &v1alpha1.SourceGroup{}
		err := r.Client.Get(ctx, client.ObjectKey{Namespace: schedule.Namespace, Name: name}, group, client.UnsafeDisableDeepCopy)
		switch {
		case apierrors.IsNotFound(err):
		case err != nil:
			log.FromContext(ctx).Error(err, "reading a SourceGroup that a Schedule names", "schedule", client.ObjectKeyFromObject(schedule), "sourceGroup", name)
		default:
			found = append(found, r.hostsIn(ctx, group)...)
		}
	}
	narrows := schedule.Spec.HostSelector
	return requestsFor(slices.DeleteFunc(selecting.Unique(found), func(host v1alpha1.Host) bool {
		matches, err := compile.Matches(v1alpha1.Selector{HostSelector: narrows}, &host)
		return narrows != nil && (err != nil || !matches)
	}))
}

// hostsIn are those that a group selects.
func (r *Reconciler) hostsIn(ctx context.Context, group *v1alpha1.SourceGroup) []v1alpha1.Host {
	hosts, err := selecting.Hosts(ctx, r.Client, group.Namespace, group.Spec.Selector)
	if err != nil {
		log.FromContext(ctx).Error(err, "listing the Hosts of a SourceGroup", "sourceGroup", client.ObjectKeyFromObject(group))
		return nil
	}
	return hosts
}

func (r *Reconciler) hostsOfSecret(ctx context.Context, secret client.Object) []ctrl.Request {
	hosts := &v1alpha1.HostList{}
	err := r.Client.List(ctx, hosts, client.InNamespace(secret.GetNamespace()), client.MatchingFields{indexSecret: secret.GetName()}, client.UnsafeDisableDeepCopy)
	if err != nil {
		log.FromContext(ctx).Error(err, "listing the Hosts of a credentials Secret", "secret", client.ObjectKeyFromObject(secret))
		return nil
	}
	return requestsFor(hosts.Items)
}

// hostsOfGateway returns the hosts whose newest session a replica holds. Of one that proved to be alive only those matter that are not held for connected.
func (r *Reconciler) hostsOfGateway(ctx context.Context, lease client.Object) []ctrl.Request {
	id := lease.GetName()[len(v1alpha1.GatewayLeasePrefix):]
	sets := &v1alpha1.ScheduleSetList{}
	if err := r.Client.List(ctx, sets, client.MatchingFields{indexGateway: id}, client.UnsafeDisableDeepCopy); err != nil {
		log.FromContext(ctx).Error(err, "listing the ScheduleSets of a gateway replica", "gateway", id)
		return nil
	}
	alive := r.Gateways.Life(id).State == Alive
	var requests []ctrl.Request
	for i := range sets.Items {
		key := client.ObjectKeyFromObject(&sets.Items[i])
		if alive && r.heldForConnected(ctx, key) {
			continue
		}
		requests = append(requests, ctrl.Request{NamespacedName: key})
	}
	return requests
}

func (r *Reconciler) heldForConnected(ctx context.Context, key client.ObjectKey) bool {
	host := &v1alpha1.Host{}
	if err := r.Client.Get(ctx, key, host, client.UnsafeDisableDeepCopy); err != nil {
		return false
	}
	c := condition(host, v1alpha1.ConditionConnected)
	return c != nil && c.Status == metav1.ConditionTrue
}

func requestsFor(hosts []v1alpha1.Host) []ctrl.Request {
	requests := make([]ctrl.Request, 0, len(hosts))
	for i := range hosts {
		requests = append(requests, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(&hosts[i])})
	}
	return requests
}
