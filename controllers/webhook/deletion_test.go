package webhook

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
)

func TestWhichDeletionsAreRefused(t *testing.T) {
	shop := func(edits ...func(*corev1.Namespace)) *corev1.Namespace {
		n := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}}
		for _, edit := range edits {
			edit(n)
		}
		return n
	}
	named := func(name string, edits ...func(*v1alpha1.Schedule)) *v1alpha1.Schedule {
		return scheduleOf(append(edits, func(s *v1alpha1.Schedule) { s.Name = name })...)
	}
	other := func(s *v1alpha1.Schedule) { s.Spec.SourceGroups = []string{"home", "etc-old"} }
	annotated := func(g *v1alpha1.SourceGroup) {
		g.Annotations = map[string]string{v1alpha1.AnnotationAllowDeletion: "true"}
	}
	var many []client.Object
	for i := range 13 {
		many = append(many, named(fmt.Sprintf("s%02d", i)))
	}
	for _, tt := range []struct {
		name    string
		edit    func(*v1alpha1.SourceGroup)
		user    string
		cached  []client.Object
		live    []client.Object // default: as cached, in a namespace that stays
		down    bool
		refused string
		warned  []string
		fails   bool
	}{
		{name: "nobody names it"},
		{name: "Schedules name others", cached: []client.Object{named("nightly", other)}},
		{name: "a Schedule names it", cached: []client.Object{named("nightly")},
			refused: `SourceGroup "etc" is named by Schedule nightly: take it out of spec.sourceGroups there, or delete the Schedule first. ` +
				`To delete it all the same: kubectl -n shop annotate sourcegroup etc backup.restic-manager.io/allow-deletion=true`},
		{name: "many name it", cached: many, refused: "Schedules s00, s01, s02, s03, s04, s05, s06, s07, s08, s09 and 3 more: take it out"},
		{name: "a suspended Schedule names it", cached: []client.Object{named("nightly", suspended)}, refused: "Schedule nightly"},
		{name: "the Schedule is going", cached: []client.Object{named("nightly", deleting)}},
		{name: "one Schedule is going, another stays", cached: []client.Object{named("a", deleting), named("b")}, refused: "Schedule b"},
		{name: "the Schedule belongs to the group", cached: []client.Object{named("nightly", func(s *v1alpha1.Schedule) {
			s.OwnerReferences = []metav1.OwnerReference{{APIVersion: v1alpha1.GroupVersion.String(), Kind: "SourceGroup", Name: "etc", UID: "group"}}
		})}},
		{name: "the Schedule is gone, which the cache has not seen", cached: []client.Object{named("nightly")}, live: []client.Object{shop()}},
		{name: "the Schedule names others now, which the cache has not seen", cached: []client.Object{named("nightly")}, live: []client.Object{shop(), named("nightly", other)}},
		{name: "its namespace is going", cached: []client.Object{named("nightly")}, live: []client.Object{named("nightly"), shop(func(n *corev1.Namespace) {
			n.DeletionTimestamp, n.Finalizers = new(metav1.Now()), []string{"kubernetes"}
		})}},
		{name: "its namespace is terminating", cached: []client.Object{named("nightly")},
			live: []client.Object{named("nightly"), shop(func(n *corev1.Namespace) { n.Status.Phase = corev1.NamespaceTerminating })}},
		{name: "its namespace is gone", cached: []client.Object{named("nightly")}, live: []client.Object{named("nightly")}},
		{name: "it was deleted before", cached: []client.Object{named("nightly")}, edit: func(g *v1alpha1.SourceGroup) { g.DeletionTimestamp = new(metav1.Now()) }},
		{name: "the garbage collector comes", cached: []client.Object{named("nightly")}, user: "system:serviceaccount:kube-system:generic-garbage-collector"},
		{name: "the controller manager without accounts comes", cached: []client.Object{named("nightly")}, user: "system:kube-controller-manager"},
		{name: "somebody calls himself like the garbage collector", cached: []client.Object{named("nightly")}, user: "system:serviceaccount:shop:generic-garbage-collector", refused: "Schedule nightly"},
		{name: "it is allowed by annotation", cached: []client.Object{named("nightly")}, edit: annotated,
			warned: []string{`SourceGroup "etc" was named by Schedule nightly: what it backed up is backed up no more`}},
		{name: "it is allowed and nobody names it", edit: annotated},
		{name: "the API server does not answer", cached: []client.Object{named("nightly")}, down: true, fails: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			group := &v1alpha1.SourceGroup{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "etc", UID: "group"}}
			if tt.edit != nil {
				tt.edit(group)
			}
			live := tt.live
			if live == nil {
				live = append([]client.Object{shop()}, tt.cached...)
			}
			see := sight{cached: reader(t, false, tt.cached...), live: reader(t, tt.down, live...)}
			refusal, warnings, err := keepGroup(t.Context(), see, tt.user, group)
			if (err != nil) != tt.fails {
				t.Errorf("error %v", err)
			}
			if (refusal != "") != (tt.refused != "") || !strings.Contains(refusal, tt.refused) {
				t.Errorf("refused with %q, want %q", refusal, tt.refused)
			}
			if diff := cmp.Diff(tt.warned, warnings); diff != "" {
				t.Errorf("warnings (-want +got):\n%s", diff)
			}
		})
	}
}
