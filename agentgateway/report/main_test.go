package report

import (
	"context"
	"encoding/base64"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/restic-manager/restic-manager/agentgateway/internal/slim"
	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/test/env"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func TestMain(m *testing.M) { os.Exit(env.Main(m)) }

var start = time.Date(2026, 3, 29, 12, 0, 0, 0, time.UTC)

func keyOf(b byte) string {
	return base64.StdEncoding.EncodeToString([]byte(strings.Repeat(string(b), 32)))
}

type meter struct {
	mu       sync.Mutex
	writes   map[string]int
	reported map[string]int

	reconnects int
}

func (m *meter) Wrote(resource string) { m.count(&m.writes, resource) }
func (m *meter) Delayed(time.Duration) {}
func (m *meter) Reconnected() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reconnects++
}
func (m *meter) Reported(r string) { m.count(&m.reported, r) }
func (m *meter) count(counts *map[string]int, key string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if *counts == nil {
		*counts = map[string]int{}
	}
	(*counts)[key]++
}

// wrote returns what was written since the last call.
func (m *meter) wrote() map[string]int {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := maps.Clone(m.writes)
	m.writes = nil
	return out
}

// slimmed reads as the gateway's cache does.
type slimmed struct{ client.Reader }

var objects slim.Objects

// Get implements client.Reader.
func (s slimmed) Get(ctx context.Context, key client.ObjectKey, object client.Object, options ...client.GetOption) error {
	if err := s.Reader.Get(ctx, key, object, options...); err != nil {
		return err
	}
	if _, err := objects.Set(object); err != nil {
		return err
	}
	_, err := slim.Job(object)
	return err
}

// fixture is one Host with its set, and a Writer.
type fixture struct {
	*Writer
	t      *testing.T
	client client.WithWatch
	meter  *meter
	clock  *clocktesting.FakeClock
	host   wire.HostRef
	scheme *runtime.Scheme
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	cp := env.Shared(t)
	sch := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{scheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(sch); err != nil {
			t.Fatal(err)
		}
	}
	c, err := client.NewWithWatch(cp.RESTConfig(), client.Options{Scheme: sch})
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{t: t, client: c, meter: &meter{}, clock: clocktesting.NewFakeClock(start), scheme: sch,
		host: wire.HostRef{Namespace: cp.NewNamespace(t, "report"), Name: "web-1"}}
	f.Writer = f.replica("gw-1", f.clock)

	h := &v1alpha1.Host{}
	h.Namespace, h.Name = f.host.Namespace, f.host.Name
	h.Spec.Repository = v1alpha1.Repository{URL: "rest:https://backup.example.com/web-1", CredentialsSecretRef: &v1alpha1.LocalReference{Name: "web-1-repo"}}
	f.create(h)
	set := &v1alpha1.ScheduleSet{}
	set.Namespace, set.Name = f.host.Namespace, f.host.Name
	set.Spec = v1alpha1.ScheduleSetSpec{Revision: "r1", Serial: 1, Bundle: "{}", Signatures: []v1alpha1.Signature{},
		Host:   v1alpha1.ScheduleSetHost{Name: f.host.Name, UID: string(h.UID), Identity: v1alpha1.HostIdentity{SigningKey: keyOf('a'), SealingKey: keyOf('b')}},
		Groups: []v1alpha1.ScheduleSetGroup{{Name: "etc", Generation: 1}, {Name: "home", Generation: 1}}}
	f.create(set)
	return f
}

// replica is another gateway on the same API server.
func (f *fixture) replica(name string, c clock.Clock) *Writer {
	return NewWriter(Options{Client: f.client, Live: f.client, Cache: slimmed{f.client}, Gateway: name, Clock: c, Meter: f.meter,
		Logger: slog.New(slog.DiscardHandler)})
}

func (f *fixture) create(object client.Object) {
	f.t.Helper()
	if err := f.client.Create(f.t.Context(), object); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) set() *v1alpha1.ScheduleSet {
	f.t.Helper()
	var set v1alpha1.ScheduleSet
	if err := f.client.Get(f.t.Context(), key(f.host), &set); err != nil {
		f.t.Fatal(err)
	}
	return &set
}

func (f *fixture) getHost() *v1alpha1.Host {
	f.t.Helper()
	var h v1alpha1.Host
	if err := f.client.Get(f.t.Context(), key(f.host), &h); err != nil {
		f.t.Fatal(err)
	}
	return &h
}

func (f *fixture) events() map[string]eventsv1.Event {
	f.t.Helper()
	var list eventsv1.EventList
	if err := f.client.List(f.t.Context(), &list, client.InNamespace(f.host.Namespace)); err != nil {
		f.t.Fatal(err)
	}
	out := map[string]eventsv1.Event{}
	for _, e := range list.Items {
		if _, twice := out[e.Reason]; twice {
			f.t.Errorf("two Events %s: %q", e.Reason, e.Note)
		}
		out[e.Reason] = e
	}
	return out
}

// eventList is the reasons of all Events.
func (f *fixture) eventList() []string {
	f.t.Helper()
	var list eventsv1.EventList
	if err := f.client.List(f.t.Context(), &list, client.InNamespace(f.host.Namespace)); err != nil {
		f.t.Fatal(err)
	}
	var reasons []string
	for _, e := range list.Items {
		reasons = append(reasons, e.Reason)
	}
	return reasons
}

func (f *fixture) session(counter int64, process string) Session {
	return Session{Host: f.host, Counter: counter, Process: process}
}

func (f *fixture) newcomer(counter int64, process string) Newcomer {
	return Newcomer{Session: f.session(counter, process), SigningKey: keyOf('a'), Hello: &wire.HelloBody{System: wire.System{Hostname: "host-of-" + process}},
		Holds: func(int64) bool { return true }}
}

func (f *fixture) connect(counter int64, process string) Session {
	f.t.Helper()
	if _, err := f.Connect(f.t.Context(), f.newcomer(counter, process)); err != nil {
		f.t.Fatalf("connecting session %d of %s: %v", counter, process, err)
	}
	return f.session(counter, process)
}

// job makes a HostJob in a phase.
func (f *fixture) job(name string, phase v1alpha1.HostJobPhase) *v1alpha1.HostJob {
	f.t.Helper()
	job := &v1alpha1.HostJob{}
	job.Namespace, job.Name = f.host.Namespace, name
	job.Spec = v1alpha1.HostJobSpec{HostRef: v1alpha1.LocalReference{Name: f.host.Name}, Kind: v1alpha1.HostJobBackup,
		Backup: &v1alpha1.BackupJob{SourceGroup: "etc"}}
	f.create(job)
	job.Status.Phase = phase
	job.Status.Command = &v1alpha1.SignedDocument{Document: "{}", Signatures: []v1alpha1.Signature{{KeyID: "k", Value: "dg=="}}}
	if err := f.client.Status().Update(f.t.Context(), job); err != nil {
		f.t.Fatal(err)
	}
	return job
}

func (f *fixture) getJob(name string) *v1alpha1.HostJob {
	f.t.Helper()
	var job v1alpha1.HostJob
	if err := f.client.Get(f.t.Context(), client.ObjectKey{Namespace: f.host.Namespace, Name: name}, &job); err != nil {
		f.t.Fatal(err)
	}
	return &job
}

func refOf(job *v1alpha1.HostJob) wire.JobRef {
	return wire.JobRef{JobID: wire.CommandID(string(job.UID)), Kind: wire.JobKind(job.Spec.Kind), HostJob: job.Name, HostJobUID: string(job.UID),
		SourceGroup: job.Spec.Backup.SourceGroup}
}

// peer keeps what was sent to the agent.
type peer struct {
	sent   chan wire.Message
	closed chan *wire.Error
}

func newPeer() *peer {
	return &peer{sent: make(chan wire.Message, 100), closed: make(chan *wire.Error, 10)}
}
func (p *peer) Send(m wire.Message) error { p.sent <- m; return nil }
func (p *peer) Close(e *wire.Error)       { p.closed <- e }

func (p *peer) ack(t *testing.T) *wire.ReportAck {
	t.Helper()
	select {
	case m := <-p.sent:
		return m.(*wire.ReportAck)
	case <-time.After(30 * time.Second):
		t.Fatal("no ack")
		return nil
	}
}

func take(t *testing.T, st *Stream, m wire.Message) {
	t.Helper()
	if err := m.Validate(); err != nil {
		t.Fatalf("%s is not valid on the wire: %v", m.MessageType(), err)
	}
	if err := st.Take(m); err != nil {
		t.Fatal(err)
	}
}

// interceptor makes chosen calls fail or do something first.
type interceptor struct {
	client.Client
	beforePatch  func(client.Object) error
	beforeCreate func(client.Object) error
}

func (i *interceptor) Create(ctx context.Context, o client.Object, opts ...client.CreateOption) error {
	if i.beforeCreate != nil {
		if err := i.beforeCreate(o); err != nil {
			return err
		}
	}
	return i.Client.Create(ctx, o, opts...)
}

func (i *interceptor) Status() client.SubResourceWriter {
	return &interceptedStatus{i.Client.Status(), i}
}

type interceptedStatus struct {
	client.SubResourceWriter
	i *interceptor
}

func (s *interceptedStatus) Patch(ctx context.Context, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
	if s.i.beforePatch != nil {
		if err := s.i.beforePatch(o); err != nil {
			return fmt.Errorf("intercepted: %w", err)
		}
	}
	return s.SubResourceWriter.Patch(ctx, o, p, opts...)
}
