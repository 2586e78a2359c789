package selecting

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
)

func TestThoseThatMatchTheHostAreLookedAt(t *testing.T) {
	kinds := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(kinds); err != nil {
		t.Fatal(err)
	}
	group := func(namespace, name string) *v1alpha1.SourceGroup {
		return &v1alpha1.SourceGroup{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	}
	c := fake.NewClientBuilder().WithScheme(kinds).WithObjects(group("shop", "etc"), group("shop", "home"), group("shop", "broken"), group("other", "etc")).Build()
	host := &v1alpha1.Host{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-1"}}
	find := func(object client.Object) []string {
		var names []string
		for _, r := range Host(t.Context(), c, &v1alpha1.SourceGroupList{}, object, func(g *v1alpha1.SourceGroup, h *v1alpha1.Host) (bool, error) {
			if h.Name != "web-1" {
				t.Errorf("asked about Host %q", h.Name)
			}
			if g.Name == "broken" {
				return true, errors.New("a selector that does not parse")
			}
			return strings.HasPrefix(g.Name, "e"), nil
		}) {
			names = append(names, r.String())
		}
		return names
	}
	if diff := cmp.Diff([]string{"shop/etc"}, find(host)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := find(group("shop", "etc")); got != nil {
		t.Errorf("what is no Host gives %v", got)
	}
}
