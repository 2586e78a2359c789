package status_test

import (
	"context"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/controllers/status"
)

func TestPatch(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	written := 0
	host := &v1alpha1.Host{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-1"}}
	c := interceptor.NewClient(fake.NewClientBuilder().WithScheme(scheme).WithObjects(host).WithStatusSubresource(host).Build(), interceptor.Funcs{
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, object client.Object, patch client.Patch, opts ...client.SubResourcePatchOption) error {
			written++
			return c.SubResource(sub).Patch(ctx, object, patch, opts...)
		},
	})
	read := func() *v1alpha1.Host {
		read := &v1alpha1.Host{}
		if err := c.Get(t.Context(), client.ObjectKeyFromObject(host), read); err != nil {
			t.Fatal(err)
		}
		return read
	}
	stale := read()

	unchanged := read()
	if err := status.Patch(t.Context(), c, unchanged.DeepCopy(), unchanged); err != nil || written != 0 {
		t.Errorf("an equal status: error %v, %d writes", err, written)
	}
	changed := read()
	base := changed.DeepCopy()
	changed.Status.ObservedGeneration = 7
	if err := status.Patch(t.Context(), c, base, changed, status.WithLock()); err != nil || written != 1 || read().Status.ObservedGeneration != 7 {
		t.Errorf("a changed status: error %v, %d writes", err, written)
	}
	base = stale.DeepCopy()
	stale.Status.ObservedGeneration = 8
	if err := status.Patch(t.Context(), c, base, stale, status.WithLock()); !apierrors.IsConflict(err) {
		t.Errorf("a status that somebody else wrote meanwhile, with lock: error %v", err)
	}
	if err := status.Patch(t.Context(), c, base, stale); err != nil || read().Status.ObservedGeneration != 8 {
		t.Errorf("the same without: error %v", err)
	}
}
