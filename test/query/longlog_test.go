package query

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/test/env"
	"github.com/restic-manager/restic-manager/test/stack"
)

// longLog is a log of so many lines, of 120 bytes each.
func longLog(lines int) []byte {
	var b bytes.Buffer
	for i := range lines {
		fmt.Fprintf(&b, "2026-03-01T01:30:%02d.%03dZ new       /srv/data/folder-%04d/file-%06d.dat, saved in 0.%03ds (%d B added)\n", i/1000%60, i%1000, i/100, i, i%997, i*31)
	}
	return b.Bytes()
}

// finished runs a backup, and gives its log another content on the machine.
func (w *world) finished(agent *stack.Agent, kubeconfig, host string, log []byte) (job string) {
	w.Helper()
	name := strings.TrimSpace(w.succeed(kubeconfig, "run", "backup", host, "--group", host+"-data", "--wait", "-o", "name"))
	name = name[strings.LastIndex(name, "/")+1:]
	object := &v1alpha1.HostJob{}
	w.must(w.Get(w.Context(), client.ObjectKey{Namespace: w.ns, Name: name}, object))
	w.must(os.WriteFile(filepath.Join(agent.StateDir, "logs", wire.CommandID(string(object.UID))+".log"), log, 0o600))
	return "job/" + name
}

func TestALongLogIsCompleteAndCostsNoMemory(t *testing.T) {
	w := newWorld(t, "long")
	agent, source := w.machine("web-1")
	edit := w.user("edit")
	w.write(filepath.Join(source, "a"), []byte("a"))
	want := longLog(200_000)
	job := w.finished(agent, edit, "web-1", want)
	w.succeed(edit, "logs", job) // what the first one needs
	processes := map[string]*env.Process{"the agent": agent.Process, w.Replicas[0].Instance: w.Replicas[0].Process, w.Replicas[1].Instance: w.Replicas[1].Process}
	before := map[string]int64{}
	for name, p := range processes {
		peak, err := p.PeakMemory()
		w.must(err)
		before[name] = peak
	}
	if got := w.succeed(edit, "logs", job); got != string(want) {
		t.Errorf("the log has %d bytes of %d, or other ones", len(got), len(want))
	}
	for name, p := range processes {
		peak, err := p.PeakMemory()
		w.must(err)
		if grown := peak - before[name]; grown > 8<<20 {
			t.Errorf("%s took %d KiB more for %d KiB of log", name, grown>>10, len(want)>>10)
		}
	}
}
