package status

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

//+kubebuilder:rbac:groups="",resources=namespaces,verbs=get;list;watch

// Terminating tells whether a namespace is being deleted: all that is in it goes, and nothing can be created there any more, Events included. One that the
// reader does not know (yet) is not. With rights in some namespaces alone, their Namespaces can be read but not listed: the reader must be a live one then.
func Terminating(ctx context.Context, reader client.Reader, namespace string) (bool, error) {
	object := &metav1.PartialObjectMetadata{}
	object.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	err := reader.Get(ctx, client.ObjectKey{Name: namespace}, object)
	if client.IgnoreNotFound(err) != nil {
		return false, fmt.Errorf("reading the namespace: %w", err)
	}
	return err == nil && !object.DeletionTimestamp.IsZero(), nil
}

// InTerminatingNamespace tells whether an error says that nothing can be created any more since the namespace is being deleted. That is neither told nor tried
// again.
func InTerminatingNamespace(err error) bool {
	return apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause)
}
