package coalesce

import (
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
)

// Named are the objects of a namespace with these names.
func Named(namespace string, names []string) []ctrl.Request {
	found := make([]ctrl.Request, 0, len(names))
	for _, name := range names {
		found = append(found, ctrl.Request{NamespacedName: types.NamespacedName{Namespace: namespace, Name: name}})
	}
	return found
}

// ByStatus is for a Handler that watches Hosts: the objects that changed names when the status of one is another. Of Hosts that come and go it knows nothing.
func ByStatus(changed func(before, after *v1alpha1.Host) []string) func(before, after client.Object) []ctrl.Request {
	return func(before, after client.Object) []ctrl.Request {
		was, hadBefore := before.(*v1alpha1.Host)
		is, hasAfter := after.(*v1alpha1.Host)
		if !hadBefore || !hasAfter {
			return nil
		}
		return Named(is.Namespace, changed(was, is))
	}
}
