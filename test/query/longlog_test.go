package query

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/test/env"
	"github.com/restic-manager/restic-manager/test/stack"
)

// longLog is a log of 200,000 lines.
func longLog() []byte {
	var b bytes.Buffer
	for i := range 200_000 {
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
	want := longLog()
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

// BenchmarkALongLog compares with what sends the same file through TLS on loopback, within one process. What the plugin and its query cost without a line of log is
// told by itself.
func BenchmarkALongLog(b *testing.B) {
	w := newWorld(b, "speed")
	agent, source := w.machine("web-1")
	edit := w.user("edit")
	w.write(filepath.Join(source, "a"), []byte("a"))
	log := longLog()
	job := w.finished(agent, edit, "web-1", log)
	none := w.finished(agent, edit, "web-1", nil)
	file := filepath.Join(b.TempDir(), "log")
	w.must(os.WriteFile(file, log, 0o600))
	leaf, err := w.CA.Issue("bench", env.LeafRequest{})
	w.must(err)
	var cat, empty, full []time.Duration
	for b.Loop() {
		cat = append(cat, w.cat(leaf, file, int64(len(log))))
		empty = append(empty, w.timed(edit, none))
		full = append(full, w.timed(edit, job))
	}
	transfer := median(full) - median(empty)
	b.ReportMetric(float64(median(cat).Microseconds())/1e3, "ms/cat")
	b.ReportMetric(float64(median(empty).Microseconds())/1e3, "ms/empty-log")
	b.ReportMetric(float64(median(full).Microseconds())/1e3, "ms/log")
	b.ReportMetric(float64(transfer)/float64(median(cat)), "x-of-cat")
	b.ReportMetric(0, "ns/op")
}

func median(of []time.Duration) time.Duration { return slices.Sorted(slices.Values(of))[len(of)/2] }

// timed runs logs with its output thrown away.
func (w *world) timed(kubeconfig, job string) time.Duration {
	w.Helper()
	cmd := w.command(w.Context(), kubeconfig, "logs", job) // to /dev/null
	began := time.Now()
	w.must(cmd.Run())
	return time.Since(began)
}

// cat sends a file through TLS on loopback.
func (w *world) cat(leaf *env.Leaf, file string, size int64) time.Duration {
	w.Helper()
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{keyPair(w, leaf)}})
	w.must(err)
	defer listener.Close()
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		if f, err := os.Open(file); err == nil {
			_, _ = io.Copy(conn, f)
			_ = f.Close()
		}
	}()
	began := time.Now()
	conn, err := tls.Dial("tcp", listener.Addr().String(), &tls.Config{RootCAs: w.CA.Pool()})
	w.must(err)
	defer conn.Close()
	n, err := io.Copy(io.Discard, conn)
	if n != size {
		w.Fatalf("%d bytes of %d came: %v", n, size, err)
	}
	return time.Since(began)
}

func keyPair(w *world, leaf *env.Leaf) tls.Certificate {
	pair, err := tls.LoadX509KeyPair(leaf.CertFile, leaf.KeyFile)
	w.must(err)
	return pair
}
