package query

import (
	"path/filepath"
	"strings"
	"testing"
)

// Kubernetes' own roles decide: view sees states in its namespace, edit reads logs and runs backups, admin gets at files.
func TestWhoMayWhat(t *testing.T) {
	w := newWorld(t, "roles")
	other := newWorld(t, "others")
	_, source := w.machine("web-1", "--allow-queries")
	view, edit, admin := w.user("view"), w.user("edit"), w.user("admin")
	w.write(filepath.Join(source, "secret.txt"), []byte("for the admin alone"))
	w.backup(edit, "web-1")
	ids := w.snapshots(edit, "web-1")
	file := filepath.Join(source, "secret.txt")
	local := t.TempDir()
	for _, test := range []struct {
		name, kubeconfig string
		args             []string
		want             bool
	}{
		{"view sees the states", view, []string{"status"}, true},
		{"view sees jobs", view, []string{"jobs"}, true},
		{"view reads no log", view, []string{"logs", "web-1"}, false},
		{"view runs no backup", view, []string{"run", "backup", "web-1", "--group", "web-1-data"}, false},
		{"view sees nothing elsewhere", view, []string{"status", "-n", other.ns}, false},
		{"view sees nothing of all namespaces", view, []string{"status", "-A"}, false},
		{"edit reads logs", edit, []string{"logs", "web-1"}, true},
		{"edit lists files", edit, []string{"ls", "web-1", ids[0]}, true},
		{"edit reads no content", edit, []string{"restore", "web-1", "--snapshot", ids[0], file, "--to-local", filepath.Join(local, "edit"), "--yes"}, false},
		{"edit restores nothing onto a machine", edit, []string{"restore", "web-1", "--snapshot", ids[0], file, "--yes"}, false},
		{"admin reads content", admin, []string{"restore", "web-1", "--snapshot", ids[0], file, "--to-local", filepath.Join(local, "admin"), "--yes"}, true},
		{"admin restores onto the machine", admin, []string{"restore", "web-1", "--snapshot", ids[0], file, "--yes"}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			said := w.restic(test.kubeconfig, test.args...)
			if ok := said.code != 2; ok != test.want {
				t.Errorf("kubectl restic %q: %s", test.args, said)
			}
			if !test.want && !strings.Contains(said.err, "forbidden") && !strings.Contains(said.err, "permission") && !strings.Contains(said.err, "may not") {
				t.Errorf("the refusal does not speak of rights: %s", said)
			}
		})
	}
}
