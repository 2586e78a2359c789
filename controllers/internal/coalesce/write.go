package coalesce

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/controllers/status"
)

// staleDelay is how long a look waits for the cache after its write met a newer object.
const staleDelay = 50 * time.Millisecond

// Write stores what a look summed up, unless the object changed since base was read: from a stale copy, what seems unchanged would stay as an earlier look left
// it. Where nothing was stored, because of that or because the object is gone, the result says when to look again.
func Write(ctx context.Context, c client.Client, base, object client.Object) (again ctrl.Result, written bool, err error) {
	err = status.Patch(ctx, c, base, object, status.WithLock())
	if apierrors.IsConflict(err) {
		return ctrl.Result{RequeueAfter: staleDelay}, false, nil
	}
	return ctrl.Result{}, err == nil, client.IgnoreNotFound(err)
}
