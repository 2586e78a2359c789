package outbox

import (
	"errors"
	"os"
	"syscall"
	"testing"

	"github.com/restic-manager/restic-manager/agent/atomicfile"
	"github.com/restic-manager/restic-manager/api/wire"
)

// snapshot copies a folder, as a hypervisor does.
func snapshot(t *testing.T, dir string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

// gateway stores reports as the real one does: by their place in the epoch that it knows.
type gateway struct {
	last   wire.ReportID
	stored []string
}

func (g *gateway) take(t *testing.T, o *Outbox) {
	t.Helper()
	var after int64
	for {
		r, ok := o.Next(after)
		if !ok {
			break
		}
		after = r.ID().Seq
		if id := r.ID(); id.Epoch != g.last.Epoch || id.Seq > g.last.Seq {
			g.last = id
			g.stored = append(g.stored, r.(*wire.JobFinished).Job.JobID)
		}
	}
	if err := o.Ack(g.last); err != nil {
		t.Fatal(err)
	}
	check(t, "waiting after the gateway took all", waiting(o), []string{})
}

func TestARolledBackMachineLosesNoResult(t *testing.T) {
	dir := t.TempDir()
	o := open(t, dir)
	gw := &gateway{}
	add(t, o, result("before"))
	gw.take(t, o)

	back := snapshot(t, dir)
	for _, job := range []string{"lost-1", "lost-2"} {
		add(t, o, result(job))
		gw.take(t, o)
	}
	o = open(t, back)
	add(t, o, result("after-1"))
	gw.take(t, o)
	add(t, o, result("after-2"))
	gw.take(t, o)
	check(t, "stored", gw.stored, []string{"before", "lost-1", "lost-2", "after-1", "after-2"})
}

func TestReportsThatWaitedInTheSnapshotGoIntoTheNewEpoch(t *testing.T) {
	dir := t.TempDir()
	o := open(t, dir)
	gw := &gateway{}
	add(t, o, result("waiting"))
	back := snapshot(t, dir)
	add(t, o, result("lost-1"), result("lost-2"))
	gw.take(t, o)

	o = open(t, back)
	add(t, o, result("after"))
	old := o.Epoch()
	if err := o.NewEpoch(); err != nil {
		t.Fatal(err)
	}
	o = open(t, back) // it is durable
	if o.Epoch() == old {
		t.Error("the epoch stays")
	}
	for _, id := range o.Pending() {
		report, ok := o.Next(id.Seq - 1)
		if !ok || report.ID() != id || id.Epoch != o.Epoch() {
			t.Errorf("report %s is waiting as %v", id, report)
		}
	}
	if err := o.Ack(wire.ReportID{Epoch: old, Seq: 9}); err != nil {
		t.Fatal(err)
	}
	check(t, "waiting after an acknowledgement of the old epoch", waiting(o), []string{"waiting", "after"})
	gw.take(t, o)
	check(t, "stored", gw.stored, []string{"waiting", "lost-1", "lost-2", "waiting", "after"})
}

func TestAnEpochThatCannotBeStoredDoesNotBegin(t *testing.T) {
	dir := t.TempDir()
	o := open(t, dir)
	epoch := o.Epoch()
	o.write = func(string, []byte) error { return syscall.ENOSPC }
	if err := o.Add(result("job-1")); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a report was added to an epoch that is not on disk: %v", err)
	}
	if err := o.NewEpoch(); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("error is %v, want no space left", err)
	}
	check(t, "epoch", o.Epoch(), epoch)
	o.write = atomicfile.Write
	add(t, o, result("job-1"))
	check(t, "epoch on disk", open(t, dir).Epoch(), o.Epoch())
}

func TestReportsOfOneBacklogStayInOneEpoch(t *testing.T) {
	dir := t.TempDir()
	o := open(t, dir)
	add(t, o, result("job-1"))
	epoch := o.Epoch()
	add(t, o, result("job-2"))
	o = open(t, dir)
	add(t, o, result("job-3"))
	check(t, "epoch while the gateway may have stored reports of it", o.Epoch(), epoch)
}
