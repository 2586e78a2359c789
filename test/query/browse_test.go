package query

import (
	"encoding/json"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// backup makes a snapshot of a machine's group and waits for it.
func (w *world) backup(kubeconfig, host string) {
	w.Helper()
	w.succeed(kubeconfig, "run", "backup", host, "--group", host+"-data", "--wait")
}

// snapshots are the ids of a machine's snapshots, the oldest first.
func (w *world) snapshots(kubeconfig, host string) []string {
	w.Helper()
	var list []struct{ ID string }
	w.must(json.Unmarshal([]byte(w.succeed(kubeconfig, "snapshots", host, "-o", "json")), &list))
	var ids []string
	for _, s := range list {
		ids = append(ids, s.ID)
	}
	return ids
}

func TestALogAndWhatIsInTheSnapshots(t *testing.T) {
	w := newWorld(t, "browse")
	_, source := w.machine("web-1", "--allow-queries")
	edit := w.user("edit")
	w.write(filepath.Join(source, "readme.txt"), []byte("first"))
	w.write(filepath.Join(source, "deep", "folder", "needle.conf"), []byte("x=1"))
	w.backup(edit, "web-1")
	w.write(filepath.Join(source, "readme.txt"), []byte("second, and longer"))
	w.write(filepath.Join(source, "added.txt"), []byte("new"))
	w.backup(edit, "web-1")

	if log := w.succeed(edit, "logs", "web-1"); !strings.Contains(log, "3 files (1 new, 1 changed") {
		t.Errorf("the log is\n%s", log)
	}
	ids := w.snapshots(edit, "web-1")
	if len(ids) != 2 {
		t.Fatalf("snapshots are %q", ids)
	}
	if table := w.succeed(edit, "snapshots", "web-1"); !strings.Contains(table, ids[0][:8]) || !strings.Contains(table, "web-1-data") {
		t.Errorf("the table is\n%s", table)
	}
	files := w.succeed(edit, "ls", "web-1", ids[1], "-R", "-o", "name")
	for _, name := range []string{"readme.txt", "added.txt", "deep/folder/needle.conf"} {
		if !strings.Contains(files, filepath.Join(source, name)+"\n") {
			t.Errorf("%s is not listed:\n%s", name, files)
		}
	}
	if folder := w.succeed(edit, "ls", "web-1", "latest", source, "-o", "name"); strings.Contains(folder, "needle.conf") || !strings.Contains(folder, "readme.txt") {
		t.Errorf("the folder alone is\n%s", folder)
	}
	found := w.succeed(edit, "find", "web-1", "needle.*")
	if strings.Count(found, "needle.conf") != 2 || !strings.Contains(found, ids[0][:8]) {
		t.Errorf("found\n%s", found)
	}
	diff := w.succeed(edit, "diff", "web-1", ids[0], ids[1])
	for _, line := range []string{`(?m)^\+\s+.*added\.txt`, `(?m)^M\s+.*readme\.txt`} {
		if !regexp.MustCompile(line).MatchString(diff) {
			t.Errorf("%s is not in\n%s", line, diff)
		}
	}
}

func TestWhatTheMachineDoesNotAllow(t *testing.T) {
	w := newWorld(t, "consent")
	_, source := w.machine("web-1")
	edit := w.user("edit")
	w.write(filepath.Join(source, "a"), []byte("a"))
	w.backup(edit, "web-1")
	ids := w.snapshots(edit, "web-1") // snapshots and logs are always allowed
	said := w.restic(edit, "ls", "web-1", ids[0])
	if said.code != 2 || !strings.Contains(said.err, "agent.yaml") || said.out != "" {
		t.Errorf("listing files without the machine's consent: %s", said)
	}
}
