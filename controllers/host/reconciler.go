package host

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/controllers/credentials"
	"github.com/restic-manager/restic-manager/controllers/internal/coalesce"
	"github.com/restic-manager/restic-manager/controllers/internal/tidings"
	"github.com/restic-manager/restic-manager/controllers/status"
)

//+kubebuilder:rbac:groups=backup.restic-manager.io,resources=hosts,verbs=get;list;watch;patch
//+kubebuilder:rbac:groups=backup.restic-manager.io,resources=hosts/identity,verbs=update
//+kubebuilder:rbac:groups=backup.restic-manager.io,resources=hosts/status,verbs=patch
//+kubebuilder:rbac:groups=backup.restic-manager.io,resources=schedulesets,verbs=get;list;watch;create;update;delete
//+kubebuilder:rbac:groups=backup.restic-manager.io,resources=sourcegroups;schedules;repomaintenances,verbs=get;list;watch
//+kubebuilder:rbac:groups="",resources=secrets,verbs=get;list;watch;create;update;delete
//+kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch
//+kubebuilder:rbac:groups=coordination.k8s.io,namespace=restic-manager-system,resources=leases,verbs=get;list;watch

// conflictDelay is how long a reconciliation waits for the cache after somebody else wrote the object.
const conflictDelay = 200 * time.Millisecond

// Signer signs what agents obey.
type Signer interface {
	Sign(document string) []wire.Signature
	// Signed tells whether every key has signed a document.
	Signed(document string, signatures []wire.Signature) bool
	// PublicKeys are those that agents are to trust.
	PublicKeys() []wire.SigningKey
	// DigestKey is the key of the credentials' digests in a revision.
	DigestKey() []byte
}

// Reconciler reconciles Hosts. All fields are required but those that say otherwise.
type Reconciler struct {
	// Client reads from a cache in which Secrets without the credentials label are absent.
	Client client.Client
	// Live reads from the API server.
	Live client.Reader
	// Namespaces reads as status.Terminating needs it.
	Namespaces client.Reader
	Clock      clock.PassiveClock
	Recorder   events.EventRecorder
	Signer     Signer
	Gateways   *Gateways

	// GatewayURL is where machines find the gateway: https://host[:port].
	GatewayURL string
	// TLSPins pin the gateway's certificate chain; none means that machines use their own trust store.
	TLSPins func() []string
	// News of what every set holds: of the keys, and of the pins where they change. May be empty.
	News []*tidings.News
	// InstallSHA256 is the checksum, in hex, of the installer that the gateway serves; empty means that it serves none.
	InstallSHA256 string
	// TokenTTL is how long an enrolment token is good for.
	TokenTTL time.Duration
	// OverdueMinGrace is how late a backup must be at least before it is overdue. Required.
	OverdueMinGrace time.Duration
	// TombstoneTTL is how long the tombstone of a removed Host is kept for a machine that does not come for it.
	TombstoneTTL time.Duration
	// Limited says that the operator has rights in some namespaces alone. It may not watch Namespaces then, and learns that one is deleted from the Hosts in it.
	Limited bool
	// MaxConcurrent is how many Hosts are reconciled at once, default 4.
	MaxConcurrent int
}

// Reconcile implements reconcile.Reconciler.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	result, err := r.look(ctx, req.NamespacedName)
	switch {
	case status.InTerminatingNamespace(err):
		log.FromContext(ctx).V(1).Info("the namespace is being deleted, and the Host with it")
		return ctrl.Result{}, nil
	case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err), apierrors.IsNotFound(err):
		// Somebody wrote or deleted it, or an object that belongs to it, since it was read: look again.
		log.FromContext(ctx).V(1).Info("an object changed meanwhile", "error", err.Error())
		return ctrl.Result{RequeueAfter: conflictDelay}, nil
	}
	return result, err
}

func (r *Reconciler) look(ctx context.Context, name types.NamespacedName) (ctrl.Result, error) {
	terminating, err := status.Terminating(ctx, r.Namespaces, name.Namespace)
	if err != nil {
		return ctrl.Result{}, err
	}
	host := &v1alpha1.Host{}
	err = r.Client.Get(ctx, name, host)
	switch {
	case terminating, apierrors.IsNotFound(err), err == nil && !host.DeletionTimestamp.IsZero():
		return r.removed(ctx, name) // its Secrets and HostJobs are garbage-collected
	case err != nil:
		return ctrl.Result{}, err
	}
	return r.reconcile(ctx, host)
}

func (r *Reconciler) reconcile(ctx context.Context, host *v1alpha1.Host) (ctrl.Result, error) {
	expiry, enrolErr := r.enrol(ctx, host)
	if elsewhereChanged(enrolErr) {
		return ctrl.Result{}, enrolErr
	}
	mintErr := r.mintCredentials(ctx, host)
	if elsewhereChanged(mintErr) {
		return ctrl.Result{}, mintErr
	}
	facts, err := r.gather(ctx, host, mintErr)
	if err != nil {
		return r.conclude(ctx, host, nil, expiry, err)
	}
	publishErr := r.publish(ctx, host, facts)
	again := status.Sooner(expiry, ctrl.Result{RequeueAfter: facts.again})
	return r.conclude(ctx, host, facts, again, cmp.Or(enrolErr, publishErr))
}

// elsewhereChanged tells errors that say nothing about the Host but that it, or one of its objects, was read too early.
func elsewhereChanged(err error) bool {
	return apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) || apierrors.IsNotFound(err) || status.InTerminatingNamespace(err) || errors.Is(err, context.Canceled)
}

// conclude writes the conditions and says when to look again. Without facts only Ready is known.
func (r *Reconciler) conclude(ctx context.Context, host *v1alpha1.Host, facts *facts, result ctrl.Result, err error) (ctrl.Result, error) {
	if elsewhereChanged(err) {
		return ctrl.Result{}, err
	}
	base := host.DeepCopy()
	if facts != nil && facts.set != nil && facts.set.Status.Agent != nil {
		host.Status.Agent = facts.set.Status.Agent.DeepCopy()
	}
	again := r.setConditions(host, facts, err)
	host.Status.ObservedGeneration = host.Generation
	if wait := settles(base, host, facts, r.Clock.Now()); wait > 0 && err == nil {
		return status.Sooner(status.Sooner(result, again), ctrl.Result{RequeueAfter: wait}), nil
	}
	all := newsOf(base, host)
	var options []status.Option
	if len(all) > 0 {
		// From a stale copy the same news would be told twice.
		options = append(options, status.WithLock())
	}
	if patchErr := status.Patch(ctx, r.Client, base, host, options...); patchErr != nil {
		return ctrl.Result{}, errors.Join(patchErr, err)
	}
	r.announce(host, all)
	after, err := status.Result(err)
	return status.Sooner(status.Sooner(result, again), after), err
}

// messageRest is how long after a result a message of BackupsCurrent stays that says the same of fewer or more groups: those of one run end one after another.
const messageRest = 30 * time.Second

// settles is how long a status is not written yet that says nothing new but what is about to change again: when the machine runs next, of a set that was published a
// moment ago (whoever made the change waits for the ack, and this write would be in its way; while sets are published more often than that, it waits); and which groups
// BackupsCurrent names, while the groups of a run succeed.
func settles(base, host *v1alpha1.Host, facts *facts, now time.Time) time.Duration {
	if facts == nil {
		return 0
	}
	replanned := facts.set != nil && !equality.Semantic.DeepEqual(base.Status.Schedules, host.Status.Schedules)
	was, is := condition(base, v1alpha1.ConditionBackupsCurrent), condition(host, v1alpha1.ConditionBackupsCurrent)
	reworded := was != nil && is != nil && was.Status == is.Status && was.Reason == is.Reason && was.Message != is.Message
	if !replanned && !reworded {
		return 0
	}
	rest := host.DeepCopy()
	var waits []time.Duration
	if replanned {
		rest.Status.Schedules, rest.Status.NextRunTime = base.Status.Schedules, base.Status.NextRunTime
		waits = append(waits, remaining(coalesce.SettleTime, time.UnixMicro(facts.set.Spec.Serial), now))
	}
	if reworded {
		condition(rest, v1alpha1.ConditionBackupsCurrent).Message = was.Message
		waits = append(waits, remaining(messageRest, newestResult(host), now))
	}
	if slices.Contains(waits, 0) || !equality.Semantic.DeepEqual(base.Status, rest.Status) {
		return 0
	}
	return slices.Min(waits)
}

// remaining is what is left of a span that began at some time; 0 when it is over, or begins in the future.
func remaining(span time.Duration, began, now time.Time) time.Duration {
	if age := now.Sub(began); age >= 0 && age < span {
		return span - age
	}
	return 0
}

func newestResult(host *v1alpha1.Host) time.Time {
	var newest time.Time
	for i := range host.Status.SourceGroups {
		if ended := host.Status.SourceGroups[i].FinishTime; ended != nil && ended.After(newest) {
			newest = ended.Time
		}
	}
	return newest
}

// asStatus gives a problem with a credentials Secret its place among the errors that say what happens next.
func asStatus(err error) error {
	var problem *credentials.Problem
	switch {
	case !errors.As(err, &problem):
		return err
	case problem.Lasting:
		return status.Stalled(problem.Reason, "%w", problem)
	}
	return status.Waiting(problem.Reason, missingSecretDelay, "%w", problem)
}
