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
	// atLeast is the resourceVersion that the last one asked for.
	atLeast string
	old     *v1alpha1.ScheduleSet
}

func (r *reads) Get(ctx context.Context, name client.ObjectKey, object client.Object, opts ...client.GetOption) error {
	r.count++
	var o client.GetOptions
	o.ApplyOptions(opts)
	r.atLeast = ""
	if o.Raw != nil {
		r.atLeast = o.Raw.ResourceVersion
	}
	if r.old != nil {
		r.old.DeepCopyInto(object.(*v1alpha1.ScheduleSet))
		return nil
	}
	return r.Reader.Get(ctx, name, object, opts...)
}

func TestARecordRestsOnTheCacheWhenItIsUpToDateAndIsRightWhenItIsNot(t *testing.T) {
	f := newFixture(t)
	cache, live := &reads{Reader: f.client}, &reads{Reader: f.client}
	w := NewWriter(Options{Client: f.client, Live: live, Cache: cache, Gateway: "gw-1", Clock: f.clock, Meter: f.meter, Logger: f.o.Logger})

	record, err := w.Connect(t.Context(), f.newcomer(1, "p1"))
	if err != nil {
		t.Fatal(err)
	}
	if want := f.set().ResourceVersion; record != want {
		t.Errorf("the record is of version %q, want %q", record, want)
	}
	if live.count != 0 || cache.count != 1 {
		t.Errorf("a connection took %d reads of the API server and %d of the cache, want 0 and 1", live.count, cache.count)
	}
	s := Session{Host: f.host, Counter: 1, Process: "p1"}
	ack := &wire.SetAck{Revision: "r1", Applied: true}
	if err := w.SetAcked(t.Context(), s, ack); err != nil {
		t.Fatal(err)
	}
	if live.count != 0 {
		t.Errorf("an ack took %d reads of the API server, want none", live.count)
	}

	// One that says what is on record is compared with what the API server has in memory, since the session's own record at least.
	s.Version = f.set().ResourceVersion
	if err := w.SetAcked(t.Context(), s, ack); err != nil {
		t.Fatal(err)
	}
	if live.count != 1 || live.atLeast != s.Version {
		t.Errorf("it took %d reads, not older than %q, want one not older than %q", live.count, live.atLeast, s.Version)
	}
	s.Version = newest

	// The cache does not know the second connection yet.
	cache.old = f.set()
	f.connect(2, "p1")
	refusal(t, errorOf(w.Connect(t.Context(), f.newcomer(2, "p1"))), wire.CodeStaleSession)
	s.Counter = 2
	if err := w.SetAcked(t.Context(), s, &wire.SetAck{Revision: "r2", Applied: true}); err != nil {
		t.Fatal(err)
	}
	if got := f.set().Status; got.AppliedRevision != "r2" || got.Connection.Session != 2 {
		t.Errorf("status is %+v", got)
	}

	// Nor that the machine has other keys now, which a refusal must not rest on.
	cache.old = f.set()
	set := f.set()
	set.Spec.Host.Identity.SigningKey = keyOf('z')
	if err := f.client.Update(t.Context(), set); err != nil {
		t.Fatal(err)
	}
	n := f.newcomer(3, "p2")
	refusal(t, errorOf(w.Connect(t.Context(), n)), wire.CodeBadSignature)
	n.SigningKey = keyOf('z')
	if _, err := w.Connect(t.Context(), n); err != nil {
		t.Errorf("refused by what the cache has: %v", err)
	}
}
