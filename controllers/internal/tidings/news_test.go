package tidings

import (
	"context"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
)

func TestNothingIsSyncedBeforeItIsKnownAndAChangeConcernsAll(t *testing.T) {
	c := fake.NewClientBuilder().WithObjects(
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-1"}},
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-1"}},
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-2"}},
	).Build()
	var n News
	s := n.Source(Every(c, &corev1.SecretList{}, &corev1.ConfigMapList{}))
	queue := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[ctrl.Request]())
	defer queue.ShutDown()
	if err := s.Start(t.Context(), queue); err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.WaitForSync(ended); err == nil {
		t.Error("it is synced before anything is known")
	}
	n.Tell()
	if err := s.WaitForSync(t.Context()); err != nil {
		t.Error(err)
	}
	n.Tell()
	seen := map[string]bool{}
	for range 2 {
		request, _ := queue.Get()
		seen[request.String()] = true
		queue.Done(request)
	}
	if !seen["shop/web-1"] || !seen["shop/web-2"] || queue.Len() != 0 {
		t.Errorf("enqueued %v, and %d more", seen, queue.Len())
	}
}
