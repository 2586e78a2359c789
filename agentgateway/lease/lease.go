package lease

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"time"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Duration is how long a Lease counts without a renewal; Renew how often it is renewed.
const (
	Duration = 30 * time.Second
	Renew    = 10 * time.Second

	requestTimeout = 5 * time.Second
)

// Keeper keeps one Lease.
type Keeper struct {
	// Client writes, Live reads from the API server itself.
	Client client.Client
	Live   client.Reader
	// Namespace is the operator's own; Instance the id of this process.
	Namespace string
	Instance  string
	// PodName and PodUID make the Pod the owner, when both are given.
	PodName string
	PodUID  string
	// Annotations are written with each renewal; nil: none.
	Annotations func() map[string]string
	Clock       clock.WithTicker
	Logger      *slog.Logger

	held *coordinationv1.Lease
}

// Name is that of the Lease.
func (k *Keeper) Name() string { return v1alpha1.GatewayLeasePrefix + k.Instance }

// Acquire creates the Lease. It is called once, before Run.
func (k *Keeper) Acquire(ctx context.Context) error {
	if err := k.write(ctx); err != nil {
		return fmt.Errorf("lease %s/%s: %w", k.Namespace, k.Name(), err)
	}
	return nil
}

// Run renews the Lease until ctx ends, and then deletes it.
func (k *Keeper) Run(ctx context.Context) {
	ticker := k.Clock.NewTicker(Renew)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			k.release()
			return
		case <-ticker.C():
			if err := k.write(ctx); err != nil && ctx.Err() == nil {
				k.Logger.Warn("lease not renewed", "lease", k.Name(), "error", err)
			}
		}
	}
}

// write creates or renews.
func (k *Keeper) write(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	now := metav1.NewMicroTime(k.Clock.Now())
	if k.held == nil {
		return k.create(ctx, now)
	}
	renewed := k.held.DeepCopy()
	renewed.Spec.RenewTime = &now
	k.annotate(renewed)
	err := k.Client.Update(ctx, renewed)
	switch {
	case err == nil:
		k.held = renewed
		return nil
	case apierrors.IsConflict(err), apierrors.IsNotFound(err):
		// Somebody edited or deleted it, or a write of ours had succeeded without our seeing it.
		k.held = nil
		return k.create(ctx, now)
	}
	return err
}

func (k *Keeper) create(ctx context.Context, now metav1.MicroTime) error {
	lease := &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Namespace: k.Namespace, Name: k.Name(),
			Labels: map[string]string{v1alpha1.GatewayLeaseLabel: v1alpha1.GatewayLeaseComponent}},
		Spec: coordinationv1.LeaseSpec{HolderIdentity: ptr.To(k.Instance), LeaseDurationSeconds: ptr.To(int32(Duration / time.Second)),
			AcquireTime: &now, RenewTime: &now},
	}
	if k.PodName != "" && k.PodUID != "" {
		lease.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: k.PodName, UID: types.UID(k.PodUID)}}
	}
	k.annotate(lease)
	err := k.Client.Create(ctx, lease)
	if apierrors.IsAlreadyExists(err) {
		var existing coordinationv1.Lease
		if err := k.Live.Get(ctx, client.ObjectKeyFromObject(lease), &existing); err != nil {
			return err
		}
		if existing.Spec.HolderIdentity == nil || *existing.Spec.HolderIdentity != k.Instance {
			return errors.New("is held by another: give this replica an instance id of its own")
		}
		existing.Spec.RenewTime = &now
		k.annotate(&existing)
		lease, err = &existing, k.Client.Update(ctx, &existing)
	}
	if err != nil {
		return err
	}
	k.held = lease
	return nil
}

func (k *Keeper) annotate(lease *coordinationv1.Lease) {
	if k.Annotations == nil {
		return
	}
	if lease.Annotations == nil {
		lease.Annotations = map[string]string{}
	}
	maps.Copy(lease.Annotations, k.Annotations())
}

// release deletes the Lease: controllers then need not wait for it to expire.
func (k *Keeper) release() {
	if k.held == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	if err := client.IgnoreNotFound(k.Client.Delete(ctx, k.held)); err != nil {
		k.Logger.Warn("lease not deleted", "lease", k.Name(), "error", err)
	}
	k.held = nil
}
