package status

import (
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// InTerminatingNamespace tells whether an error says that nothing can be created any more since the namespace is being deleted: what the object was for goes
// with it, so this is neither told nor tried again.
func InTerminatingNamespace(err error) bool {
	return apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause)
}
