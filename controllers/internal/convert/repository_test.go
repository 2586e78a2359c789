package convert

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
)

func hostAt(name, url string, created time.Time) *v1alpha1.Host {
	host := &v1alpha1.Host{ObjectMeta: metav1.ObjectMeta{Name: name, CreationTimestamp: metav1.NewTime(created)}}
	host.Spec.Repository.URL = url
	return host
}

func TestASlashAtTheEndIsTheSameRepository(t *testing.T) {
	key := func(url string) string { return RepositoryKey(hostAt("a", url, time.Time{})) }
	if key("rest:https://b.example.com/x/") != key("rest:https://b.example.com/x") {
		t.Error("a slash at the end makes another repository")
	}
	if key("rest:https://b.example.com/x") == key("rest:https://b.example.com/y") {
		t.Error("two paths are one repository")
	}
}

func TestTheAnchorOfARepositoryIsItsOldestHost(t *testing.T) {
	old, young := time.Unix(1, 0), time.Unix(2, 0)
	for name, tt := range map[string]struct {
		hosts []*v1alpha1.Host
		want  string
	}{
		"the oldest":                {[]*v1alpha1.Host{hostAt("a", "", young), hostAt("b", "", old)}, "b"},
		"of two, the first by name": {[]*v1alpha1.Host{hostAt("c", "", old), hostAt("b", "", old)}, "b"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Anchor(tt.hosts); got.Name != tt.want {
				t.Errorf("is %s, want %s", got.Name, tt.want)
			}
		})
	}
	if Anchor(nil) != nil {
		t.Error("no hosts have an anchor")
	}
}
