package query

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
)

// slow makes a group whose backup takes some seconds: files of its own, at a limited rate.
func (w *world) slow(host, name string, files, kilobytesPerSecond int) {
	w.Helper()
	source := filepath.Join(w.Dir, "machines", w.ns, host, name)
	for i := range files {
		content := make([]byte, 64<<10)
		_, err := rand.Read(content)
		w.must(err)
		w.write(filepath.Join(source, fmt.Sprintf("file-%02d", i)), content)
	}
	group := &v1alpha1.SourceGroup{ObjectMeta: metav1.ObjectMeta{Name: name}}
	group.Spec = v1alpha1.SourceGroupSpec{
		Selector: v1alpha1.Selector{HostRef: &v1alpha1.LocalReference{Name: host}}, Includes: []string{source},
		Bandwidth: &v1alpha1.Bandwidth{UploadKBps: int32(kilobytesPerSecond)},
	}
	w.create(group)
}

// A log is followed from its beginning over what ends streams: both replicas are killed in turn, the one that holds the agent and the one that holds the reader.
func TestALogIsFollowedWhileReplicasGo(t *testing.T) {
	w := newWorld(t, "follow")
	agent, _ := w.machine("web-1")
	edit := w.user("edit")
	w.slow("web-1", "first", 32, 100)
	w.slow("web-1", "second", 60, 400)
	begin := func(group string) string {
		name := strings.TrimSpace(w.succeed(edit, "run", "backup", "web-1", "--group", group, "-o", "name"))
		return name[strings.LastIndex(name, "/")+1:]
	}
	begin("first")
	job := begin("second") // it waits its turn, so that it begins when somebody follows already

	cmd := w.command(w.Context(), edit, "logs", "job/"+job, "-f", "-v")
	pipe, err := cmd.StdoutPipe()
	w.must(err)
	var problems bytes.Buffer
	cmd.Stderr = &problems
	w.must(cmd.Start())
	var lines []string
	for scanner := bufio.NewScanner(pipe); scanner.Scan(); {
		lines = append(lines, scanner.Text())
		if n := len(lines); n == 5 || n == 20 {
			replica := w.Replicas[n/20]
			w.must(replica.Kill())
			w.must(replica.Start(w.Context()))
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v: %s", err, problems.String())
	}
	object := &v1alpha1.HostJob{}
	w.must(w.Get(w.Context(), client.ObjectKey{Namespace: w.ns, Name: job}, object))
	want, err := os.ReadFile(filepath.Join(agent.StateDir, "logs", wire.CommandID(string(object.UID))+".log"))
	w.must(err)
	if got := strings.Join(lines, "\n") + "\n"; got != string(want) {
		t.Errorf("%d bytes were followed, the log on the machine has %d\n%s", len(got), len(want), problems.String())
	}
	if n := len(regexp.MustCompile(`file-\d\d`).FindAllString(string(want), -1)); n < 60 {
		t.Errorf("%d lines of files are in the log", n)
	}
}
