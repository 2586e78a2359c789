package query

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"
)

// Who stands where the gateway stands, and keeps all that passes, learns no line of a log and no name of a file but those that the policies name.
func TestARecordingGatewayLearnsNothingOfWhatIsAskedAndAnswered(t *testing.T) {
	w := newWorld(t, "learns")
	r := record(t, w.Stack)
	_, source := w.machine("web-1", "--allow-queries")
	edit, admin := w.user("edit"), w.user("admin")
	w.write(filepath.Join(source, "salary-list.txt"), []byte("the content of the salary list"))
	w.write(filepath.Join(source, "hidden-folder", "diary.txt"), []byte("the content of the diary"))
	w.backup(edit, "web-1")
	ids := w.snapshots(edit, "web-1")

	log := w.succeed(edit, "logs", "web-1")
	if !strings.Contains(w.succeed(edit, "ls", "web-1", ids[0], "-R"), "salary-list.txt") {
		t.Error("the list lacks the file")
	}
	if !strings.Contains(w.succeed(edit, "find", "web-1", "diary*"), "diary.txt") {
		t.Error("the file is not found")
	}
	local := t.TempDir()
	w.succeed(admin, "restore", "web-1", "--snapshot", ids[0], filepath.Join(source, "hidden-folder", "diary.txt"), "--to-local", local, "--yes")

	learned := r.learned()
	if !bytes.Contains(learned, []byte("stream.open")) || !bytes.Contains(learned, []byte("heartbeat")) && !bytes.Contains(learned, []byte("schedule.ack")) {
		t.Fatalf("the recorder saw no session with a stream in %d bytes", len(learned))
	}
	for _, word := range []string{"salary-list", "diary", "hidden-folder", "the content of"} {
		if bytes.Contains(learned, []byte(word)) {
			t.Errorf("the gateway learned %q", word)
		}
	}
	// The tail of a log travels with the result of a HostJob, into its status; the lines of the log itself do not.
	for line := range strings.Lines(log) {
		if line = strings.TrimSpace(line); line != "" && bytes.Contains(streams(learned), []byte(line)) {
			t.Errorf("the gateway learned the line %q from a stream", line)
		}
	}
}

// streams are the recorded messages without the reports of jobs.
func streams(learned []byte) []byte {
	var kept []byte
	for line := range bytes.Lines(learned) {
		if !bytes.Contains(line, []byte(`"type":"job.finished"`)) {
			kept = append(kept, line...)
		}
	}
	return kept
}
