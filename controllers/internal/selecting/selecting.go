// Package selecting finds the objects to look at again when a Host changes: those of its namespace whose selector chooses it.
package selecting

import (
	"context"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
)

// Host returns a request for each object of a list's kind that matches a Host; T is the type of the items. What is no Host matches none, and what
// cannot be listed is told in the log. Items are only read, and may be shared with a cache. A map function asks it for the Host before and after a
// change.
func Host[T client.Object](ctx context.Context, reader client.Reader, list client.ObjectList, object client.Object,
	matches func(T, *v1alpha1.Host) (bool, error)) []ctrl.Request {
	host, ok := object.(*v1alpha1.Host)
	if !ok {
		return nil
	}
	if err := reader.List(ctx, list, client.InNamespace(host.Namespace), client.UnsafeDisableDeepCopy); err != nil {
		log.FromContext(ctx).Error(err, "listing what may select a Host", "host", client.ObjectKeyFromObject(host))
		return nil
	}
	var requests []ctrl.Request
	// The function returns no error, so neither does the walk.
	_ = meta.EachListItem(list, func(item runtime.Object) error {
		if selecting, ok := item.(T); ok {
			if yes, err := matches(selecting, host); err == nil && yes {
				requests = append(requests, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(selecting)})
			}
		}
		return nil
	})
	return requests
}
