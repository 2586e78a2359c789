package hostquery

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/controllers/internal/tidings"
)

// indexQueries finds the queries to one Host.
const indexQueries = "hostquery/host"

// SetupWithManager makes the reconciler run in mgr.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	if err := mgr.GetFieldIndexer().IndexField(context.Background(), &v1alpha1.HostQuery{}, indexQueries, hostOf); err != nil {
		return fmt.Errorf("indexing HostQueries by %s: %w", indexQueries, err)
	}
	queries := ctrl.NewControllerManagedBy(mgr).
		// Nobody else writes a status, and a spec cannot be changed: there is one event for each query, and one for its end.
		For(&v1alpha1.HostQuery{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&v1alpha1.Host{}, handler.EnqueueRequestsFromMapFunc(r.queriesOfHost), builder.WithPredicates(hostChanged))
	for _, n := range r.News {
		queries.WatchesRawSource(n.Source(tidings.Every(r.Client, &v1alpha1.HostQueryList{})))
	}
	return queries.Complete(r)
}

func hostOf(object client.Object) []string {
	query, ok := object.(*v1alpha1.HostQuery)
	if !ok {
		return nil
	}
	return []string{query.Spec.HostRef.Name}
}

// hostChanged passes what decide looks at: a Host that comes or goes, its spec, and whether it is connected.
var hostChanged = predicate.Funcs{
	UpdateFunc: func(e event.UpdateEvent) bool {
		before, ok := e.ObjectOld.(*v1alpha1.Host)
		if !ok {
			return false
		}
		after, ok := e.ObjectNew.(*v1alpha1.Host)
		return ok && (before.Generation != after.Generation || before.UID != after.UID || connected(before) != connected(after) ||
			before.DeletionTimestamp.IsZero() != after.DeletionTimestamp.IsZero())
	},
}

// connected is the status and the reason of that condition.
func connected(host *v1alpha1.Host) string {
	c := meta.FindStatusCondition(host.Status.Conditions, v1alpha1.ConditionConnected)
	if c == nil {
		return ""
	}
	return string(c.Status) + c.Reason
}

func (r *Reconciler) queriesOfHost(ctx context.Context, host client.Object) []ctrl.Request {
	queries := &v1alpha1.HostQueryList{}
	err := r.Client.List(ctx, queries, client.InNamespace(host.GetNamespace()), client.MatchingFields{indexQueries: host.GetName()}, client.UnsafeDisableDeepCopy)
	if err != nil {
		log.FromContext(ctx).Error(err, "finding the HostQueries that a change of their Host may concern")
		return nil
	}
	var requests []ctrl.Request
	for i := range queries.Items {
		requests = append(requests, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(&queries.Items[i])})
	}
	return requests
}
