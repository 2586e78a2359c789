package query

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
)

func TestTheDoctorNamesTheCause(t *testing.T) {
	w := newWorld(t, "doctor")
	agent, source := w.machine("web-1")
	schedule := &v1alpha1.Schedule{ObjectMeta: metav1.ObjectMeta{Name: "nightly"}}
	schedule.Spec = v1alpha1.ScheduleSpec{Cron: "@yearly", SourceGroups: []string{"web-1-data"}}
	w.create(schedule)
	edit := w.user("edit")
	w.write(filepath.Join(source, "a"), []byte("a"))
	w.backup(edit, "web-1")
	look := func(name string, code int, words ...string) {
		t.Helper()
		said := w.restic(edit, "doctor", "web-1")
		if said.code != code {
			t.Errorf("%s: %s", name, said)
		}
		for _, word := range words {
			if !strings.Contains(said.out+said.err, word) {
				t.Errorf("%s: %q is not in\n%s", name, word, said)
			}
		}
	}
	look("all is well", 0, "web-1")

	data := filepath.Join(w.Rest.Data, "web-1."+w.ns)
	w.must(os.Rename(data, data+"-away"))
	look("the repository is gone", 1, "repository")
	w.must(os.Rename(data+"-away", data))

	w.must(agent.Stop())
	look("the agent is stopped", 1, "not connected", "systemctl")
}
