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
	"k8s.io/apimachinery/pkg/types"
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
	"github.com/restic-manager/restic-manager/controllers/maintenance"
)

// Field indexes of the cache.
const (
	indexSecret  = "spec.repository.credentialsSecretRef.name"
	indexGateway = "status.connection.gateway"
	// indexMaintained leads from a Host's name to the RepoMaintenances that name it, and from bySelector to those with a label selector.
	indexMaintained = "host.spec.hostRef.name"
	// indexRepository leads from maintenance.Key to the Hosts that share a repository.
	indexRepository = "host.spec.repository"
)

const bySelector = ""

// SetupWithManager makes the reconciler run in mgr. It adds r.Gateways to mgr as well.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	for _, index := range []struct {
		object client.Object
		name   string
		keys   client.IndexerFunc
	}{
		{&v1alpha1.Host{}, indexSecret, bySecret},
		{&v1alpha1.Host{}, indexRepository, byRepository},
		{&v1alpha1.ScheduleSet{}, indexGateway, byGateway},
		{&v1alpha1.RepoMaintenance{}, indexMaintained, byMaintained},
	} {
		if err := mgr.GetFieldIndexer().IndexField(context.Background(), index.object, index.name, index.keys); err != nil {
			return fmt.Errorf("indexing %T: %w", index.object, err)
		}
	}
	if err := mgr.Add(r.Gateways); err != nil {
		return err
	}
	return ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.Host{}, builder.WithPredicates(hostChanged)).
		Watches(&v1alpha1.ScheduleSet{}, &handler.EnqueueRequestForObject{}, builder.WithPredicates(setChanged)). // of its name
		Watches(&v1alpha1.SourceGroup{}, handler.EnqueueRequestsFromMapFunc(r.hostsOfGroup), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&v1alpha1.Schedule{}, handler.EnqueueRequestsFromMapFunc(r.hostsOfSchedule), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&v1alpha1.RepoMaintenance{}, handler.EnqueueRequestsFromMapFunc(r.hostsOfMaintenance), builder.WithPredicates(maintenanceChanged, sinceStart)).
		Watches(&corev1.Secret{}, handler.EnqueueRequestsFromMapFunc(r.hostsOfSecret), builder.WithPredicates(secretChanged)).
		Watches(&corev1.Namespace{}, handler.EnqueueRequestsFromMapFunc(r.setsOfNamespace), builder.OnlyMetadata, builder.WithPredicates(namespaceEnds)).
		WatchesRawSource(source.Channel(r.Gateways.changes, handler.EnqueueRequestsFromMapFunc(r.hostsOfGateway))).
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

func byRepository(object client.Object) []string {
	host, ok := object.(*v1alpha1.Host)
	if !ok {
		return nil
	}
	return []string{maintenance.Key(host)}
}

func byMaintained(object client.Object) []string {
	m, ok := object.(*v1alpha1.RepoMaintenance)
	switch {
	case !ok:
		return nil
	case m.Spec.HostRef != nil:
		return []string{m.Spec.HostRef.Name}
	}
	return []string{bySelector}
}

// byGateway leaves out sessions that have ended: whether their replica lives does not matter.
func byGateway(object client.Object) []string {
	set, ok := object.(*v1alpha1.ScheduleSet)
	if !ok || set.Status.Connection == nil || set.Status.Connection.DisconnectedTime != nil {
		return nil
	}
	return []string{set.Status.Connection.Gateway}
}

// hostChanged passes what a Host's reconciliation looks at: not the results of jobs. The conditions, which it writes itself, come back once, so
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
			MintedCredentials: host.Status.MintedCredentials, Maintenance: health,
		},
	}
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
	status := &v1alpha1.ScheduleSetStatus{AppliedRevision: set.Status.AppliedRevision, Refusal: set.Status.Refusal, Duplicate: set.Status.Duplicate, NotAllowed: set.Status.NotAllowed}
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
	if ref := m.Spec.HostRef; ref != nil {
		// Each of ten thousand Hosts has one of its own: no look at all others for each.
		return requestsFor(r.withAdmin(ctx, types.NamespacedName{Namespace: m.Namespace, Name: ref.Name}))
	}
	hosts := r.hostsIn(ctx, m.Namespace)
	repositories := map[string]bool{}
	for i := range hosts {
		if matches, err := compile.Matches(m.Spec.Selector, &hosts[i]); err == nil && matches {
			repositories[maintenance.Key(&hosts[i])] = true
		}
	}
	var concerned []*v1alpha1.Host
	for i := range hosts {
		if host := &hosts[i]; host.Spec.Repository.AdminCredentialsSecretRef != nil && repositories[maintenance.Key(host)] {
			concerned = append(concerned, host)
		}
	}
	return requestsFor(concerned)
}

// withAdmin returns the Hosts with admin credentials on the repository of one.
func (r *Reconciler) withAdmin(ctx context.Context, name types.NamespacedName) []*v1alpha1.Host {
	host := &v1alpha1.Host{}
	if err := r.Client.Get(ctx, name, host, client.UnsafeDisableDeepCopy); err != nil {
		if !apierrors.IsNotFound(err) {
			log.FromContext(ctx).Error(err, "reading the Host of a RepoMaintenance", "host", name)
		}
		return nil
	}
	hosts := &v1alpha1.HostList{}
	err := r.Client.List(ctx, hosts, client.InNamespace(name.Namespace), client.MatchingFields{indexRepository: maintenance.Key(host)}, client.UnsafeDisableDeepCopy)
	if err != nil {
		log.FromContext(ctx).Error(err, "listing the Hosts of a repository", "host", name)
		return nil
	}
	return slices.DeleteFunc(maintenance.Sharing(host, hosts.Items), func(h *v1alpha1.Host) bool { return h.Spec.Repository.AdminCredentialsSecretRef == nil })
}

// hostsOfGroup is asked for the group before and after a change.
func (r *Reconciler) hostsOfGroup(ctx context.Context, object client.Object) []ctrl.Request {
	group, ok := object.(*v1alpha1.SourceGroup)
	if !ok {
		return nil
	}
	selected, _ := compile.GroupHosts(group, r.hostsIn(ctx, group.Namespace))
	return requestsFor(selected)
}

// hostsOfSchedule is asked for the schedule before and after a change. An invalid one is for no host, and so is one whose groups are all missing: then
// it is the coming of the group, or the change back, that concerns a host.
func (r *Reconciler) hostsOfSchedule(ctx context.Context, object client.Object) []ctrl.Request {
	schedule, ok := object.(*v1alpha1.Schedule)
	if !ok {
		return nil
	}
	groups := &v1alpha1.SourceGroupList{}
	if err := r.Client.List(ctx, groups, client.InNamespace(schedule.Namespace), client.UnsafeDisableDeepCopy); err != nil {
		log.FromContext(ctx).Error(err, "listing the SourceGroups that a Schedule may name", "schedule", client.ObjectKeyFromObject(schedule))
		return nil
	}
	selected, _ := compile.ScheduleHosts(schedule, groups.Items, r.hostsIn(ctx, schedule.Namespace))
	return requestsFor(selected)
}

func (r *Reconciler) hostsIn(ctx context.Context, namespace string) []v1alpha1.Host {
	hosts := &v1alpha1.HostList{}
	if err := r.Client.List(ctx, hosts, client.InNamespace(namespace), client.UnsafeDisableDeepCopy); err != nil {
		log.FromContext(ctx).Error(err, "listing Hosts", "namespace", namespace)
	}
	return hosts.Items
}

func (r *Reconciler) hostsOfSecret(ctx context.Context, secret client.Object) []ctrl.Request {
	hosts := &v1alpha1.HostList{}
	err := r.Client.List(ctx, hosts, client.InNamespace(secret.GetNamespace()), client.MatchingFields{indexSecret: secret.GetName()}, client.UnsafeDisableDeepCopy)
	if err != nil {
		log.FromContext(ctx).Error(err, "listing the Hosts of a credentials Secret", "secret", client.ObjectKeyFromObject(secret))
		return nil
	}
	requests := make([]ctrl.Request, 0, len(hosts.Items))
	for i := range hosts.Items {
		requests = append(requests, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(&hosts.Items[i])})
	}
	return requests
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

func requestsFor(hosts []*v1alpha1.Host) []ctrl.Request {
	requests := make([]ctrl.Request, 0, len(hosts))
	for _, h := range hosts {
		requests = append(requests, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(h)})
	}
	return requests
}
