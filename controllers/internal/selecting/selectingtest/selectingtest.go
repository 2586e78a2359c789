// Package selectingtest does without a cache what the cache's indexes do: for tests whose client reads from the API server, which knows none of them.
package selectingtest

import (
	"context"
	"reflect"
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/controllers/internal/selecting"
)

// Client answers lists by the indexes of package selecting out of what live reads from the API server.
func Client(t testing.TB, live client.Client) client.Client {
	return &indexed{Client: live, t: t}
}

type indexed struct {
	client.Client
	t testing.TB
}

// List implements client.Reader.
func (c *indexed) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	var options client.ListOptions
	options.ApplyOptions(opts)
	selector := options.FieldSelector
	options.FieldSelector = nil
	if err := c.Client.List(ctx, list, &options); err != nil || selector == nil {
		return err
	}
	Filter(c.t, list, selector)
	return nil
}

// Filter leaves in a list what a field selector asks for, by the indexes of package selecting and others that the test knows.
func Filter(t testing.TB, list client.ObjectList, selector fields.Selector, others ...selecting.Index) {
	t.Helper()
	items, err := meta.ExtractList(list)
	if err != nil {
		t.Fatal(err)
	}
	for _, requirement := range selector.Requirements() {
		items = slices.DeleteFunc(items, func(item runtime.Object) bool {
			object, ok := item.(client.Object)
			return !ok || !slices.Contains(keysOf(t, object, requirement.Field, others), requirement.Value)
		})
	}
	if err := meta.SetList(list, items); err != nil {
		t.Fatal(err)
	}
}

func keysOf(t testing.TB, object client.Object, field string, others []selecting.Index) []string {
	t.Helper()
	for _, index := range append(selecting.Indexes(), others...) {
		if index.Field == field && reflect.TypeOf(index.Object) == reflect.TypeOf(object) {
			return index.Keys(object)
		}
	}
	t.Errorf("no index %s of %T is known here", field, object)
	return nil
}
