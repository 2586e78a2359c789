package kube

import (
	"context"
	"errors"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
)

func TestWhatAPersonNames(t *testing.T) {
	for text, want := range map[string]string{
		"web-1": " web-1", "host/web-1": "host web-1", "hosts.backup.restic-manager.io/web-1": "host web-1", "host.backup.restic-manager.io/web-1": "host web-1",
		"job/x": "job x", "HostJob/x": "job x", "schedule/nightly": "schedule nightly",
	} {
		kind, name, err := Split(text)
		if got := kind + " " + name; got != want || err != nil {
			t.Errorf("%q is %q (%v), expected %q", text, got, err, want)
		}
	}
	for _, text := range []string{"pod/x", "host/", "host/a/b", "/x"} {
		if _, _, err := Split(text); err == nil || !strings.Contains(err.Error(), "host/NAME") {
			t.Errorf("%q: %v, expected that it says what to write", text, err)
		}
	}
}

func TestWhomAPersonMayHaveMeant(t *testing.T) {
	hosts := []string{"db-1", "web-1", "web-2", "backup-server"}
	for name, want := range map[string]string{"web1": "web-1", "wbe-2": "web-2", "bd-1": "db-1", "server": "backup-server", "backup": "backup-server", "mail": "", "x": ""} {
		if got := Nearest(name, hosts); got != want {
			t.Errorf("for %q %q is offered, expected %q", name, got, want)
		}
	}
}

func TestErrorsSayWhatToDo(t *testing.T) {
	hosts := schema.GroupResource{Group: v1alpha1.GroupVersion.Group, Resource: "hosts"}
	unserved := apierrors.NewGenericServerResponse(404, "get", hosts, "web-1", "404 page not found", 0, true)
	for says, err := range map[string]error{
		"restic-manager is not installed":    unserved,
		"takes the role admin":               apierrors.NewForbidden(hosts, "web-1", errors.New("no")),
		"log in again":                       apierrors.NewUnauthorized("no"),
		`hosts.backup.restic-manager.io "x"`: apierrors.NewNotFound(hosts, "x"),
		"something else":                     errors.New("something else"),
	} {
		if got := Explain(err); !strings.Contains(got.Error(), says) {
			t.Errorf("%v, expected that it says %q", got, says)
		}
	}
}

func TestWaitingEndsWithTheObject(t *testing.T) {
	host := &v1alpha1.Host{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-1"}}
	c := fake.NewClientBuilder().WithScheme(Scheme()).WithObjects(host.DeepCopy()).Build()
	err := Until(t.Context(), c, host.DeepCopy(), func(h *v1alpha1.Host) (bool, error) {
		return false, c.Delete(t.Context(), h)
	})
	if !apierrors.IsNotFound(err) {
		t.Errorf("got %v, expected that it is gone", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	other := &v1alpha1.Host{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-2"}}
	if err := c.Create(ctx, other); err != nil {
		t.Fatal(err)
	}
	err = Until(ctx, c, other, func(*v1alpha1.Host) (bool, error) { cancel(); return false, nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, expected that it was given up", err)
	}
}
