package host

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
)

// updateSet writes a set over the one that was read, and has the API server forget who owns which of its fields: nobody applies sets, and to keep that up to date is a
// good part of what a write costs (ADR 0040).
func (r *Reconciler) updateSet(ctx context.Context, set *v1alpha1.ScheduleSet) error {
	set.ManagedFields = []metav1.ManagedFieldsEntry{{}} // one empty entry; none would leave them as they are
	return r.Client.Update(ctx, set, client.FieldOwner(v1alpha1.ManagerControllers))
}
