package queries

import (
	"testing"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	toolscache "k8s.io/client-go/tools/cache"
)

func query(name string) *v1alpha1.HostQuery {
	return &v1alpha1.HostQuery{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}}
}

func told(changes <-chan struct{}) bool {
	select {
	case <-changes:
		return true
	default:
		return false
	}
}

func TestAChangeIsToldToThoseWhoListenToThatQuery(t *testing.T) {
	b := New(nil)
	first, stopFirst := b.Changes("shop", "q")
	second, stopSecond := b.Changes("shop", "q")
	other, stopOther := b.Changes("shop", "other")
	b.changed(query("q"))
	b.changed(query("q")) // nobody has looked yet: one value says both
	if !told(first) || !told(second) || told(first) || told(other) {
		t.Error("the change is not told once to each")
	}
	b.changed(toolscache.DeletedFinalStateUnknown{Obj: query("q")})
	if !told(first) {
		t.Error("a deletion that the watch had missed is not told")
	}
	stopFirst()
	b.changed(query("q"))
	if told(first) || !told(second) {
		t.Error("after the first has left, the change is told to it, or not to the second")
	}
	stopSecond()
	stopOther()
	if len(b.listeners) != 0 {
		t.Errorf("%d queries are remembered when nobody listens", len(b.listeners))
	}
	b.changed("no query")
}

func TestASignatureThatIsNoneIsLeftOut(t *testing.T) {
	got := signatures([]v1alpha1.Signature{{KeyID: "k1", Value: "?"}, {KeyID: "k2", Value: "AAEC"}})
	if len(got) != 1 || got[0].KeyID != "k2" || len(got[0].Value) != 3 {
		t.Errorf("got %+v", got)
	}
}
