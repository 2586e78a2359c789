package selecting_test

import (
	"context"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/controllers/compile"
	"github.com/restic-manager/restic-manager/controllers/internal/selecting"
)

const namespace = "shop"

func host(name string, labels map[string]string) *v1alpha1.Host {
	return &v1alpha1.Host{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: labels}}
}

func group(name string, selector v1alpha1.Selector) *v1alpha1.SourceGroup {
	return &v1alpha1.SourceGroup{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: v1alpha1.SourceGroupSpec{Selector: selector}}
}

func byLabels(labels map[string]string) v1alpha1.Selector {
	return v1alpha1.Selector{HostSelector: &metav1.LabelSelector{MatchLabels: labels}}
}

func byExpression(key string, operator metav1.LabelSelectorOperator, values ...string) v1alpha1.Selector {
	return v1alpha1.Selector{HostSelector: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: key, Operator: operator, Values: values}}}}
}

// selectors are one of each form.
var selectors = map[string]v1alpha1.Selector{
	"by name":                      {HostRef: &v1alpha1.LocalReference{Name: "web-1"}},
	"by one label":                 byLabels(map[string]string{"role": "web"}),
	"by two labels":                byLabels(map[string]string{"env": "prod", "role": "web"}),
	"by two labels, one that fits": byLabels(map[string]string{"env": "prod", "role": "none"}),
	"one of two values":            byExpression("role", metav1.LabelSelectorOpIn, "web", "db"),
	"not a value":                  byExpression("role", metav1.LabelSelectorOpNotIn, "web"),
	"a label that is there":        byExpression("env", metav1.LabelSelectorOpExists),
	"a label that is not there":    byExpression("env", metav1.LabelSelectorOpDoesNotExist),
	"every Host":                   {HostSelector: &metav1.LabelSelector{}},
	"what does not parse":          byExpression("role", "Maybe"),
	"nothing":                      {},
}

var hosts = []*v1alpha1.Host{
	host("db-1", map[string]string{"role": "db", "env": "prod"}), host("bare", nil), host("web-1", map[string]string{"role": "web", "env": "prod"}),
	host("web-2", map[string]string{"role": "web"}),
}

// cache is a client with the indexes, and counts the objects that are listed.
func cache(t *testing.T, listed *int, objects ...client.Object) client.Client {
	t.Helper()
	kinds := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(kinds); err != nil {
		t.Fatal(err)
	}
	builder := fake.NewClientBuilder().WithScheme(kinds).WithObjects(objects...)
	for _, index := range selecting.Indexes() {
		builder.WithIndex(index.Object, index.Field, index.Keys)
	}
	return interceptor.NewClient(builder.Build(), interceptor.Funcs{
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			err := c.List(ctx, list, opts...)
			if hosts, ok := list.(*v1alpha1.HostList); ok {
				*listed += len(hosts.Items)
			}
			return err
		},
	})
}

func TestBothDirectionsFindWhatTheSelectorChooses(t *testing.T) {
	other := host("web-1", map[string]string{"role": "web", "env": "prod"})
	other.Namespace = "elsewhere"
	objects := []client.Object{other}
	for _, h := range hosts {
		objects = append(objects, h)
	}
	for name, selector := range selectors {
		objects = append(objects, group(name, selector))
	}
	var listed int
	c := cache(t, &listed, objects...)
	for name, selector := range selectors {
		var want []string
		for _, h := range hosts {
			if yes, err := compile.Matches(selector, h); err == nil && yes {
				want = append(want, h.Name)
			}
		}
		slices.Sort(want)
		found, err := selecting.Hosts(t.Context(), c, namespace, selector)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, h := range found {
			got = append(got, h.Name)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("Hosts chosen %s (-want +got):\n%s", name, diff)
		}
		if found, err = selecting.Unsorted(t.Context(), c, namespace, selector); err != nil {
			t.Fatal(err)
		}
		unsorted := slices.Sorted(slices.Values(selecting.Names(found)))
		if diff := cmp.Diff(want, unsorted); diff != "" {
			t.Errorf("Hosts chosen %s, in no order (-want +got):\n%s", name, diff)
		}
	}
	for _, h := range hosts {
		var want []string
		for name, selector := range selectors {
			if yes, err := compile.Matches(selector, h); err == nil && yes {
				want = append(want, name)
			}
		}
		slices.Sort(want)
		found, err := selecting.Groups(t.Context(), c, h)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, g := range found {
			got = append(got, g.Name)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("SourceGroups that choose %s (-want +got):\n%s", h.Name, diff)
		}
	}
}

func TestALookCostsAsManyHostsAsItFinds(t *testing.T) {
	var objects []client.Object
	for _, h := range hosts {
		objects = append(objects, h)
	}
	for name, want := range map[string]int{"by name": 1, "by one label": 2, "one of two values": 3, "a label that is there": 2, "nothing": 0, "every Host": 4} {
		var listed int
		c := cache(t, &listed, objects...)
		if _, err := selecting.Hosts(t.Context(), c, namespace, selectors[name]); err != nil {
			t.Fatal(err)
		}
		if listed != want {
			t.Errorf("a selector for %q listed %d Hosts, want %d", name, listed, want)
		}
	}
}

func TestSchedulesAreFoundByTheirGroups(t *testing.T) {
	schedule := func(name string, groups ...string) *v1alpha1.Schedule {
		return &v1alpha1.Schedule{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: v1alpha1.ScheduleSpec{SourceGroups: groups}}
	}
	var listed int
	c := cache(t, &listed, schedule("nightly", "etc", "home"), schedule("hourly", "db"), schedule("weekly", "home"))
	found, err := selecting.Schedules(t.Context(), c, namespace, "etc", "home", "gone")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range found {
		got = append(got, s.Name)
	}
	if diff := cmp.Diff([]string{"nightly", "weekly"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestTheHostsOfARepositoryAreFoundTogether(t *testing.T) {
	on := func(name, url string) *v1alpha1.Host {
		h := host(name, nil)
		h.Spec.Repository.URL = url
		return h
	}
	const shared = "rest:https://backup.example.com/shared"
	var listed int
	c := cache(t, &listed, on("web-1", shared), on("web-2", shared+"/"), on("db-1", "rest:https://backup.example.com/db"),
		&v1alpha1.RepoMaintenance{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "web-2-default"}, Spec: v1alpha1.RepoMaintenanceSpec{Selector: v1alpha1.Selector{HostRef: &v1alpha1.LocalReference{Name: "web-2"}}}},
		&v1alpha1.RepoMaintenance{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "db-1-default"}, Spec: v1alpha1.RepoMaintenanceSpec{Selector: v1alpha1.Selector{HostRef: &v1alpha1.LocalReference{Name: "db-1"}}}},
		&v1alpha1.RepoMaintenance{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "all"}, Spec: v1alpha1.RepoMaintenanceSpec{Selector: selectors["every Host"]}},
	)
	sharing, err := selecting.Sharing(t.Context(), c, []v1alpha1.Host{*on("web-2", shared)})
	if err != nil {
		t.Fatal(err)
	}
	if len(sharing) != 2 || sharing[0].Name != "web-1" || sharing[1].Name != "web-2" {
		t.Errorf("found %d Hosts, want web-1 and web-2", len(sharing))
	}
	found, err := selecting.Maintenances(t.Context(), c, namespace, selecting.Names(sharing))
	if err != nil {
		t.Fatal(err)
	}
	if len(found) != 2 || found[0].Name != "all" || found[1].Name != "web-2-default" {
		t.Errorf("found %d RepoMaintenances, want all and web-2-default", len(found))
	}
}
