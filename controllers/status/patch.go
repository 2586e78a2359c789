package status

import (
	"bytes"
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/equality"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
)

// Option of Patch.
type Option func(*options)

type options struct{ lock bool }

// WithLock makes Patch fail with a conflict when the object changed since base was read.
func WithLock() Option { return func(o *options) { o.lock = true } }

// Patch writes the difference between the statuses of base and object, and nothing when there is none. base is a copy of the object from
// before the changes. On success object holds what the server returned.
func Patch(ctx context.Context, c client.Client, base, object client.Object, opts ...Option) error {
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	if equality.Semantic.DeepEqual(base, object) {
		return nil // as after most looks, and cheaper to find out than by a patch
	}
	data, err := client.MergeFrom(base).Data(object)
	if err != nil {
		return fmt.Errorf("comparing the status of %s: %w", client.ObjectKeyFromObject(object), err)
	}
	if bytes.Equal(data, []byte("{}")) {
		return nil
	}
	patch := client.MergeFrom(base)
	if o.lock {
		patch = client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{})
	}
	if err := c.Status().Patch(ctx, object, patch, client.FieldOwner(v1alpha1.ManagerControllers)); err != nil {
		return fmt.Errorf("writing the status of %s: %w", client.ObjectKeyFromObject(object), err)
	}
	return nil
}
