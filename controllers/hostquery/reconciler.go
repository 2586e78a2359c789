package hostquery

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/controllers/internal/tidings"
	"github.com/restic-manager/restic-manager/controllers/status"
)

//+kubebuilder:rbac:groups=backup.restic-manager.io,resources=hostqueries,verbs=get;list;watch;delete
//+kubebuilder:rbac:groups=backup.restic-manager.io,resources=hostqueries/status,verbs=patch
//+kubebuilder:rbac:groups=backup.restic-manager.io,resources=hosts,verbs=get;list;watch

// Reconciler signs HostQueries, writes their status and deletes them.
type Reconciler struct {
	Client client.Client
	// Namespaces reads as status.Terminating needs it.
	Namespaces client.Reader
	Clock      clock.PassiveClock
	Signer     Signer
	// Gateway is where answers are collected.
	Gateway func() v1alpha1.GatewayEndpoint
	// News of the keys, and of the Gateway's pins where they change. May be empty.
	News []*tidings.News
}

// Reconcile implements reconcile.Reconciler.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	query := &v1alpha1.HostQuery{}
	if err := r.Client.Get(ctx, req.NamespacedName, query); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if terminating, err := status.Terminating(ctx, r.Namespaces, query.Namespace); terminating || err != nil || !query.DeletionTimestamp.IsZero() {
		return ctrl.Result{}, err
	}
	if expires := expiration(query); !r.Clock.Now().Before(expires) {
		return ctrl.Result{}, r.remove(ctx, query)
	}
	host, err := r.host(ctx, query)
	if err != nil {
		return ctrl.Result{}, err
	}
	base := query.DeepCopy()
	if err := r.apply(query, decide(query, host)); err != nil {
		return ctrl.Result{}, err
	}
	// Deleted meanwhile: it was answered.
	if err := status.Patch(ctx, r.Client, base, query); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	return ctrl.Result{RequeueAfter: max(expiration(query).Sub(r.Clock.Now()), time.Millisecond)}, nil
}

// host is nil when there is none, or one that is being deleted.
func (r *Reconciler) host(ctx context.Context, query *v1alpha1.HostQuery) (*v1alpha1.Host, error) {
	host := &v1alpha1.Host{}
	err := r.Client.Get(ctx, types.NamespacedName{Namespace: query.Namespace, Name: query.Spec.HostRef.Name}, host)
	if apierrors.IsNotFound(err) || err == nil && !host.DeletionTimestamp.IsZero() {
		return nil, nil
	}
	return host, err
}

// apply turns a decision into status.
func (r *Reconciler) apply(query *v1alpha1.HostQuery, next decision) error {
	now := &query.Status
	now.ObservedGeneration = query.Generation
	now.ExpirationTime = new(metav1.NewTime(expiration(query)))
	if err := r.issue(now, next.command); err != nil {
		return err
	}
	status.For(&now.Conditions, query.Generation, r.Clock).Ready(next.err, v1alpha1.ReasonSigned, next.message)
	return nil
}

// remove deletes a query whose time is over.
func (r *Reconciler) remove(ctx context.Context, query *v1alpha1.HostQuery) error {
	log.FromContext(ctx).V(1).Info("deleting a HostQuery whose time is over")
	uid, version := query.UID, query.ResourceVersion
	err := r.Client.Delete(ctx, query, client.Preconditions{UID: &uid, ResourceVersion: &version})
	if apierrors.IsConflict(err) {
		return err // the cache is behind: it is tried again
	}
	return client.IgnoreNotFound(err)
}
