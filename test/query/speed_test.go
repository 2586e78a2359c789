package query

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/test/env"
	"github.com/restic-manager/restic-manager/test/stack"
)

// BenchmarkALongLog compares a long log with cat of the same file: cat piped into a process that sends through TLS on loopback, to a process that writes
// what it gets into a pipe. The plugin writes into the same sort of pipe, and the same reader reads both. Each round measures all in turn, since machines are noisy.
//
// For each there are three times, as medians: of the whole process, from its start to its end (for cat of the sender's, while the receiver listens already); of the
// transfer, from the first byte in the pipe to the last; and what the log takes longer than a log of one line, which is the transfer without what any question costs.
// direct goes by the replica that holds the agent, relayed by the other one. The x are quotients to cat. The cpu are what a long log costs each process more than one of a line; cpu-x is the quotient of their sums.
func BenchmarkALongLog(b *testing.B) {
	for _, lines := range []int{200_000, 1_000_000} {
		b.Run(fmt.Sprintf("lines=%d", lines), func(b *testing.B) { benchmarkALog(b, lines) })
	}
}

func benchmarkALog(b *testing.B, lines int) {
	w := newWorld(b, "speed")
	agent, source := w.machine("web-1")
	edit := w.user("edit")
	w.write(filepath.Join(source, "a"), []byte("a"))
	log := longLog(lines)
	line := log[:strings.IndexByte(string(log), '\n')+1]
	cat := w.newCat()
	holder, other := w.Replicas[0], w.Replicas[1]
	w.direct(agent, holder)
	plugin := func(job string, g *stack.Gateway) func() *taker {
		return func() *taker {
			return w.taken(w.command(w.Context(), edit, "logs", job, "--gateway-address="+g.Address))
		}
	}
	long, short := w.finished(agent, edit, "web-1", log), w.finished(agent, edit, "web-1", line)
	courses := []*course{
		{name: "cat", long: func() *taker { return cat.run(log) }, short: func() *taker { return cat.run(line) }},
		{name: "direct", long: plugin(long, holder), short: plugin(short, holder)},
		{name: "relayed", long: plugin(long, other), short: plugin(short, other)},
	}
	processes := map[string]*env.Process{"agent": agent.Process, "holder": holder.Process, "relay": other.Process}
	for b.Loop() {
		for _, c := range courses {
			times := []map[string]time.Duration{cpuTimes(w, processes)}
			small := c.short()
			times = append(times, cpuTimes(w, processes))
			large := c.long()
			times = append(times, cpuTimes(w, processes))
			c.shorts = append(c.shorts, small.whole(w, len(line)))
			c.longs = append(c.longs, large.whole(w, len(log)))
			c.transfers = append(c.transfers, large.last.Sub(large.first))
			c.cpu("reader", large.cpu()-small.cpu())
			c.cpu("sender", large.sender-small.sender)
			for name := range processes {
				c.cpu(name, times[2][name]-2*times[1][name]+times[0][name])
			}
		}
	}
	base := courses[0]
	for _, c := range courses {
		b.ReportMetric(ms(c.whole()), c.name+"-whole-ms")
		b.ReportMetric(ms(c.transfer()), c.name+"-transfer-ms")
		b.ReportMetric(ms(c.more()), c.name+"-more-ms")
		b.ReportMetric(ms(median(c.shorts)), c.name+"-line-ms")
		b.ReportMetric(ms(median(c.used["reader"])), c.name+"-reader-cpu-ms")
		if c == base {
			b.ReportMetric(ms(median(c.used["sender"])), c.name+"-sender-cpu-ms")
			continue
		}
		b.ReportMetric(float64(c.whole())/float64(base.whole()), c.name+"-whole-x")
		b.ReportMetric(float64(c.transfer())/float64(base.transfer()), c.name+"-transfer-x")
		b.ReportMetric(float64(c.more())/float64(base.more()), c.name+"-more-x")
		b.ReportMetric(float64(c.allCPU())/float64(base.allCPU()), c.name+"-cpu-x")
		for name := range processes {
			b.ReportMetric(ms(median(c.used[name])), c.name+"-"+name+"-cpu-ms")
		}
	}
	b.ReportMetric(0, "ns/op")
}

// course is one way for a log, and what was measured of it.
type course struct {
	name                     string
	long, short              func() *taker
	longs, shorts, transfers []time.Duration
	used                     map[string][]time.Duration
}

func (c *course) cpu(process string, used time.Duration) {
	if c.used == nil {
		c.used = map[string][]time.Duration{}
	}
	c.used[process] = append(c.used[process], used)
}

// allCPU is what all processes together have used.
func (c *course) allCPU() (sum time.Duration) {
	for _, used := range c.used {
		sum += median(used)
	}
	return sum
}

func (c *course) whole() time.Duration    { return median(c.longs) }
func (c *course) transfer() time.Duration { return median(c.transfers) }
func (c *course) more() time.Duration     { return median(c.longs) - median(c.shorts) }

func median(of []time.Duration) time.Duration { return slices.Sorted(slices.Values(of))[len(of)/2] }

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1e3 }

// cpuTimes are those that running processes have used by now.
func cpuTimes(w *world, processes map[string]*env.Process) map[string]time.Duration {
	w.Helper()
	times := map[string]time.Duration{}
	for name, p := range processes {
		var used unix.Timespec
		// The number of a clock is made of the process's: clock_getcpuclockid(3).
		w.must(unix.ClockGettime(^int32(p.PID())<<3|2, &used))
		times[name] = time.Duration(used.Nano())
	}
	return times
}

// direct has an agent connect to a replica without the balancer between them, which is a process here and the kernel in a cluster.
func (w *world) direct(agent *stack.Agent, to *stack.Gateway) {
	w.Helper()
	w.must(agent.Stop())
	config, err := os.ReadFile(agent.Config)
	w.must(err)
	w.must(os.WriteFile(agent.Config, bytes.ReplaceAll(config, []byte(w.URL), []byte("https://"+to.Address)), 0o600))
	w.must(agent.Start(w.Context()))
	w.eventually("the agent is connected to "+to.Instance, func(ctx context.Context) error {
		set := &v1alpha1.ScheduleSet{}
		if err := w.Get(ctx, client.ObjectKey{Namespace: w.ns, Name: agent.Host}, set); err != nil {
			return err
		}
		if on := set.Status.Connection; on == nil || on.Gateway != to.Instance || on.DisconnectedTime != nil {
			return fmt.Errorf("its connection is %+v", on)
		}
		return nil
	})
}

// taker is a process of which the output is taken from a pipe and thrown away.
type taker struct {
	cmd                       *exec.Cmd
	sender                    time.Duration // CPU of cat and what it is piped into
	bytes                     int
	began, first, last, ended time.Time
}

// taken runs a command to its end.
func (w *world) taken(cmd *exec.Cmd) *taker {
	w.Helper()
	out, err := cmd.StdoutPipe()
	w.must(err)
	t := &taker{cmd: cmd, began: time.Now()}
	w.must(cmd.Start())
	t.take(w, out)
	return t
}

// cpu is what the process has used.
func (t *taker) cpu() time.Duration {
	return t.cmd.ProcessState.UserTime() + t.cmd.ProcessState.SystemTime()
}

func (t *taker) take(w *world, out io.Reader) {
	w.Helper()
	for buffer := make([]byte, 128<<10); ; {
		n, err := out.Read(buffer)
		if n > 0 {
			t.last = time.Now()
			if t.bytes == 0 {
				t.first = t.last
			}
			t.bytes += n
		}
		if errors.Is(err, io.EOF) {
			break
		}
		w.must(err)
	}
	w.must(t.cmd.Wait())
	t.ended = time.Now()
}

// whole is the time from beginning to end, of so many bytes.
func (t *taker) whole(w *world, bytes int) time.Duration {
	w.Helper()
	if t.bytes != bytes {
		w.Fatalf("%q: %d bytes of %d came", t.cmd.Args, t.bytes, bytes)
	}
	return t.ended.Sub(t.began)
}

// cat sends files by cat and TLS.
type cat struct {
	*world
	program, file   string
	certificate, ca string
	key             string
}

func (w *world) newCat() *cat {
	w.Helper()
	leaf, err := w.CA.Issue("bench", env.LeafRequest{})
	w.must(err)
	dir := w.TempDir()
	c := &cat{world: w, program: filepath.Join(dir, "tlscat"), file: filepath.Join(dir, "log"), certificate: leaf.CertFile, key: leaf.KeyFile, ca: w.CA.CertFile}
	build := exec.CommandContext(w.Context(), "go", "build", "-trimpath", "-o", c.program, "./tlscat")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	if err != nil {
		w.Fatalf("go build ./tlscat: %v\n%s", err, out)
	}
	return c
}

// run sends content; the clock runs from the sender's start to the receiver's end.
func (c *cat) run(content []byte) *taker {
	c.Helper()
	c.must(os.WriteFile(c.file, content, 0o600))
	receiver := exec.CommandContext(c.Context(), c.program, "receive", c.certificate, c.key)
	out, err := receiver.StdoutPipe()
	c.must(err)
	said, err := receiver.StderrPipe()
	c.must(err)
	c.must(receiver.Start())
	address, err := bufio.NewReader(said).ReadString('\n')
	c.must(err)
	sender := exec.CommandContext(c.Context(), "/bin/sh", "-c", fmt.Sprintf("cat %q | %q send %s %q", c.file, c.program, strings.TrimSpace(address), c.ca))
	t := &taker{cmd: receiver, began: time.Now()}
	c.must(sender.Start())
	t.take(c.world, out)
	c.must(sender.Wait())
	t.sender = sender.ProcessState.UserTime() + sender.ProcessState.SystemTime()
	return t
}
