package report

import (
	"context"
	"testing"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// reads counts reads, and answers with old for as long as it is there: a cache that is behind.
type reads struct {
	client.Reader
	count int
	old   client.Object
}

func (r *reads) Get(ctx context.Context, name client.ObjectKey, object client.Object, opts ...client.GetOption) error {
	r.count++
	switch old := r.old.(type) {
	case *v1alpha1.ScheduleSet:
		old.DeepCopyInto(object.(*v1alpha1.ScheduleSet))
		return nil
	case *v1alpha1.HostJob:
		old.DeepCopyInto(object.(*v1alpha1.HostJob))
		return nil
	}
	return r.Reader.Get(ctx, name, object, opts...)
}

func TestARecordRestsOnTheCacheWhenItIsUpToDateAndIsRightWhenItIsNot(t *testing.T) {
	f := newFixture(t)
	cache, live := &reads{Reader: slimmed{f.client}}, &reads{Reader: f.client}
	w := NewWriter(Options{Client: f.client, Live: live, Cache: cache, Gateway: "gw-1", Clock: f.clock, Meter: f.meter, Logger: f.o.Logger})

	record, err := w.Connect(t.Context(), f.newcomer(1, "p1"))
	if err != nil {
		t.Fatal(err)
	}
	if live.count != 0 || cache.count != 1 {
		t.Errorf("a connection took %d reads of the API server and %d of the cache, want 0 and 1", live.count, cache.count)
	}
	s := Session{Host: f.host, Counter: 1, Process: "p1", Record: record}
	ack := &wire.SetAck{Revision: "r1", Applied: true}
	if err := w.SetAcked(t.Context(), s, ack); err != nil {
		t.Fatal(err)
	}
	if live.count != 0 {
		t.Errorf("an ack took %d reads of the API server, want none", live.count)
	}

	// One that says what the connection's record says is compared with nothing else.
	again := f.newcomer(2, "p1")
	again.Hello.AppliedRevision = "r1"
	if s.Record, err = w.Connect(t.Context(), again); err != nil {
		t.Fatal(err)
	}
	s.Counter, cache.count = 2, 0
	if err := w.SetAcked(t.Context(), s, ack); err != nil {
		t.Fatal(err)
	}
	if live.count+cache.count != 0 {
		t.Errorf("it took %d reads, want none", live.count+cache.count)
	}
	// Anything else is written.
	notAllowed := &wire.SetAck{Revision: "r1", Applied: true, NotAllowed: []wire.NotAllowed{{SourceGroup: "etc", What: "hooks", Message: "hooks are not allowed"}}}
	if err := w.SetAcked(t.Context(), s, notAllowed); err != nil {
		t.Fatal(err)
	}
	if got := f.set().Status.NotAllowed; len(got) != 1 {
		t.Errorf("what is not allowed is %+v", got)
	}
	s.Record = nil

	// The cache does not know the second connection yet.
	cache.old = f.set()
	f.connect(3, "p1")
	refusal(t, errorOf(w.Connect(t.Context(), f.newcomer(3, "p1"))), wire.CodeStaleSession)
	s.Counter = 3
	if err := w.SetAcked(t.Context(), s, &wire.SetAck{Revision: "r2", Applied: true}); err != nil {
		t.Fatal(err)
	}
	if got := f.set().Status; got.AppliedRevision != "r2" || got.Connection.Session != 3 {
		t.Errorf("status is %+v", got)
	}

	// Nor that the machine has other keys now, which a refusal must not rest on.
	cache.old = f.set()
	set := f.set()
	set.Spec.Host.Identity.SigningKey = keyOf('z')
	if err := f.client.Update(t.Context(), set); err != nil {
		t.Fatal(err)
	}
	n := f.newcomer(4, "p2")
	refusal(t, errorOf(w.Connect(t.Context(), n)), wire.CodeBadSignature)
	n.SigningKey = keyOf('z')
	if _, err := w.Connect(t.Context(), n); err != nil {
		t.Errorf("refused by what the cache has: %v", err)
	}
}

func TestAHostJobRestsOnTheCacheWhenItIsUpToDateAndIsRightWhenItIsNot(t *testing.T) {
	f := newFixture(t)
	cache, live := &reads{Reader: slimmed{f.client}}, &reads{Reader: f.client}
	w := NewWriter(Options{Client: f.client, Live: live, Cache: cache, Gateway: "gw-1", Clock: f.clock, Meter: f.meter, Logger: f.o.Logger})
	s := f.session(2, "p1")

	job := f.job("now", v1alpha1.JobPending)
	pending := f.getJob("now")
	ref := refOf(job)
	if send, err := w.Dispatched(t.Context(), s, job); err != nil || !send {
		t.Fatalf("dispatched: %v, %v", send, err)
	}
	dispatched := f.getJob("now")
	for _, err := range []error{
		w.started(t.Context(), s, &wire.JobStarted{Job: ref, StartedAt: start}, start),
		w.progress(t.Context(), s, &wire.JobProgress{Job: ref, BytesDone: 1, BytesTotal: 2}, start),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if got := f.getJob("now").Status; got.Phase != v1alpha1.JobRunning || got.Progress == nil || got.Progress.Percent != 50 {
		t.Errorf("under way the status is %+v", got)
	}
	if err := w.ended(t.Context(), s, backup(1, func(m *wire.JobFinished) { m.Job, m.LogTail = ref, "done" }), start); err != nil {
		t.Fatal(err)
	}
	if got := f.getJob("now").Status; got.Phase != v1alpha1.JobSucceeded || got.Progress != nil || got.LogTail != "done" || got.Result == nil || got.Command == nil {
		t.Errorf("at the end the status is %+v", got)
	}
	if live.count != 0 {
		t.Errorf("a job took %d reads of the API server, want none", live.count)
	}

	// A cache that is behind neither has an ended job sent, nor ended otherwise.
	cache.old = pending
	if send, err := w.Dispatched(t.Context(), s, job); err != nil || send {
		t.Errorf("sent when it had ended: %v, %v", send, err)
	}
	cache.old = dispatched
	if err := w.ended(t.Context(), s, backup(2, func(m *wire.JobFinished) { m.Job = ref; failed(m) }), start); err != nil {
		t.Fatal(err)
	}
	if got := f.getJob("now").Status.Phase; got != v1alpha1.JobSucceeded {
		t.Errorf("it is %s by the word of a later report", got)
	}

	// One that the cache takes for ended is looked at again before that is believed.
	cache.old = f.getJob("now")
	other := f.job("other", v1alpha1.JobDispatched)
	cache.old.(*v1alpha1.HostJob).UID = other.UID
	if err := w.started(t.Context(), s, &wire.JobStarted{Job: refOf(other), StartedAt: start}, start); err != nil {
		t.Fatal(err)
	}
	if got := f.getJob("other").Status.Phase; got != v1alpha1.JobRunning {
		t.Errorf("the other is %s", got)
	}
}
