package desired

import (
	"context"
	"encoding/base64"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
)

var web1 = wire.HostRef{Namespace: "shop", Name: "web-1"}

// fakeCache reads from a fake client; what it is not given panics.
type fakeCache struct {
	cache.Cache
	reader client.Reader
}

func (c fakeCache) Get(ctx context.Context, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
	return c.reader.Get(ctx, key, o, opts...)
}
func (c fakeCache) List(ctx context.Context, l client.ObjectList, opts ...client.ListOption) error {
	return c.reader.List(ctx, l, opts...)
}

// indexer hands the index over to the fake client.
type indexer struct{ builder *fake.ClientBuilder }

func (i indexer) IndexField(_ context.Context, o client.Object, field string, extract client.IndexerFunc) error {
	i.builder.WithIndex(o, field, extract)
	return nil
}

type fakeLink struct {
	counter int64
	sent    []string
	full    bool
}

func (*fakeLink) Host() wire.HostRef { return web1 }
func (l *fakeLink) Counter() int64   { return l.counter }
func (l *fakeLink) Offer(s *wire.SetOffer) {
	l.sent = append(l.sent, "set "+s.Revision)
}
func (l *fakeLink) Close(e *wire.Error) { l.sent = append(l.sent, "close "+string(e.Code)) }
func (l *fakeLink) Send(m wire.Message) error {
	if l.full {
		return fmt.Errorf("full")
	}
	switch m := m.(type) {
	case *wire.CommandRun:
		command := m.Command
		for _, c := range m.Credentials {
			command += fmt.Sprintf(" with %s=%s", c.Name, c.Sealed)
		}
		l.sent = append(l.sent, command)
	case *wire.CommandCancel:
		l.sent = append(l.sent, m.Cancel)
	}
	return nil
}

// take returns what was sent since the last call.
func (l *fakeLink) take() string {
	s := strings.Join(l.sent, ", ")
	l.sent = nil
	return s
}

type fakeHub struct{ current Link }

func (h *fakeHub) Link(wire.HostRef) (Link, bool) { return h.current, h.current != nil }

type fakeJobs struct{ refuse []string }

func (j *fakeJobs) Dispatched(_ context.Context, _ Link, job *v1alpha1.HostJob) (bool, error) {
	return !slices.Contains(j.refuse, job.Name), nil
}

type fixture struct {
	*Pusher
	t      *testing.T
	cached client.Client
	live   client.Client
	// whole are sets that are at hand in full, by their version.
	whole map[string]*v1alpha1.ScheduleSet
	hub   *fakeHub
	jobs  *fakeJobs
	link  *fakeLink
}

func newFixture(t *testing.T, applied string) *fixture {
	t.Helper()
	f := &fixture{t: t, hub: &fakeHub{}, jobs: &fakeJobs{}}
	whole := func(cached *v1alpha1.ScheduleSet) *v1alpha1.ScheduleSet { return f.whole[cached.ResourceVersion] }
	kinds := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(kinds); err != nil {
		t.Fatal(err)
	}
	builder := fake.NewClientBuilder().WithScheme(kinds)
	if err := IndexJobs(t.Context(), indexer{builder}); err != nil {
		t.Fatal(err)
	}
	f.cached = builder.Build()
	f.live = fake.NewClientBuilder().WithScheme(kinds).Build()
	f.Pusher = New(Options{Cache: fakeCache{reader: f.cached}, Whole: whole, Live: f.live, Hub: f.hub, Jobs: f.jobs, Logger: slog.New(slog.DiscardHandler), Workers: 1})
	f.open(1, applied)
	return f
}

func (f *fixture) open(counter int64, applied string) {
	f.link = &fakeLink{counter: counter}
	f.hub.current = f.link
	f.Opened(f.link, "key", applied, 0)
}

// put creates or replaces an object.
func put(t *testing.T, c client.Client, o client.Object) {
	t.Helper()
	o.SetResourceVersion("")
	_ = c.Delete(t.Context(), o.DeepCopyObject().(client.Object)) // there may be none
	if err := c.Create(t.Context(), o); err != nil {
		t.Fatal(err)
	}
}

func set(revision string, change func(*v1alpha1.ScheduleSet)) *v1alpha1.ScheduleSet {
	s := &v1alpha1.ScheduleSet{ObjectMeta: metav1.ObjectMeta{Namespace: web1.Namespace, Name: web1.Name}}
	s.Spec.Revision, s.Spec.Bundle = revision, "bundle"
	s.Spec.Host.Identity.SigningKey = "key"
	if change != nil {
		change(s)
	}
	return s
}

func (f *fixture) publish(revision string) {
	f.t.Helper()
	put(f.t, f.cached, set(revision, nil))
	put(f.t, f.live, set(revision, nil))
}

func (f *fixture) job(name string, age time.Duration, change func(*v1alpha1.HostJob)) {
	f.t.Helper()
	job := &v1alpha1.HostJob{ObjectMeta: metav1.ObjectMeta{Namespace: web1.Namespace, Name: name, UID: types.UID("uid-" + name),
		CreationTimestamp: metav1.NewTime(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(-age))}}
	job.Spec.HostRef.Name = web1.Name
	job.Status.Phase = v1alpha1.JobPending
	job.Status.Command = &v1alpha1.SignedDocument{Document: "run " + name}
	if change != nil {
		change(job)
	}
	put(f.t, f.cached, job)
}

// sends syncs and compares what the agent got.
func (f *fixture) sends(want string) {
	f.t.Helper()
	if err := f.sync(f.t.Context(), web1); err != nil {
		f.t.Fatal(err)
	}
	if got := f.link.take(); got != want {
		f.t.Errorf("the agent got %q, want %q", got, want)
	}
}

func TestTheNewestSetIsOfferedOnce(t *testing.T) {
	f := newFixture(t, "r0")
	f.publish("r1")
	f.sends("set r1")
	f.sends("")
	put(t, f.live, set("r3", nil)) // the cache is behind
	put(t, f.cached, set("r2", nil))
	f.sends("set r3")
	put(t, f.cached, set("r3", nil))
	f.sends("")
	f.open(2, "r3")
	f.sends("")
	f.open(3, "r2") // it refused r3
	f.sends("set r3")
}

func TestASetThatIsAtHandInFullIsNotReadAgain(t *testing.T) {
	f := newFixture(t, "r0")
	cached := set("r1", func(s *v1alpha1.ScheduleSet) { s.Spec.Serial = 1 })
	put(t, f.cached, cached) // and the API server is not asked, which has none
	f.whole = map[string]*v1alpha1.ScheduleSet{cached.ResourceVersion: cached.DeepCopy()}
	f.sends("set r1")
	f.sends("")
}

func TestAnAgentThatKnowsMoreThanTheWatchIsNotOfferedWhatIsAtHand(t *testing.T) {
	f := newFixture(t, "r0")
	cached := set("r7", func(s *v1alpha1.ScheduleSet) { s.Spec.Serial = 7 })
	put(t, f.cached, cached)
	put(t, f.live, set("r8", func(s *v1alpha1.ScheduleSet) { s.Spec.Serial = 8 }))
	f.whole = map[string]*v1alpha1.ScheduleSet{cached.ResourceVersion: cached.DeepCopy()}
	f.Opened(f.link, "key", "r8", 8)
	f.sends("")
}

func TestASetThatWasMendedIsOfferedAgain(t *testing.T) {
	f := newFixture(t, "r0")
	publish := func(serial int64) {
		change := func(s *v1alpha1.ScheduleSet) { s.Spec.Serial = serial }
		put(t, f.cached, set("r1", change))
		put(t, f.live, set("r1", change))
	}
	publish(1) // damaged: the agent refuses it
	f.sends("set r1")
	publish(2) // the controllers' answer to the damage says the same
	f.sends("set r1")
	f.sends("")
	f.open(2, "r1")
	publish(3) // what the agent has in force says the same
	f.sends("")
}

func TestSessionsThatMayNotGoOn(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*v1alpha1.ScheduleSet)
		none   bool
		want   string
	}{
		{name: "the set is gone", none: true, want: "close host_removed"},
		{name: "the keys are others", change: func(s *v1alpha1.ScheduleSet) { s.Spec.Host.Identity.SigningKey = "other" }, want: "close host_removed"},
		{name: "a newer session is on record", want: "close superseded",
			change: func(s *v1alpha1.ScheduleSet) { s.Status.Connection = &v1alpha1.Connection{Session: 2} }},
		{name: "its own session is on record", change: func(s *v1alpha1.ScheduleSet) { s.Status.Connection = &v1alpha1.Connection{Session: 1} }},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t, "r1")
			if !c.none {
				put(t, f.cached, set("r1", c.change))
			}
			f.sends(c.want)
		})
	}
}

func TestCommandsAreSentOncePerSessionAfterTheSet(t *testing.T) {
	f := newFixture(t, "")
	f.publish("r1")
	f.job("b-older", time.Hour, nil)
	f.job("a-newer", 0, nil)
	f.job("running", 2*time.Hour, func(j *v1alpha1.HostJob) { j.Status.Phase = v1alpha1.JobRunning })
	f.job("finished", 0, func(j *v1alpha1.HostJob) { j.Status.Phase = v1alpha1.JobSucceeded })
	f.job("not-signed-yet", 0, func(j *v1alpha1.HostJob) { j.Status.Command = nil })
	f.job("of-another", 0, func(j *v1alpha1.HostJob) { j.Spec.HostRef.Name = "web-2" })
	f.job("refused", 0, nil)
	f.jobs.refuse = []string{"refused"}
	f.sends("set r1, run running, run b-older, run a-newer")
	f.sends("")
	f.open(2, "r1")
	f.sends("run running, run b-older, run a-newer")
}

func TestACommandIsSentWithTheCredentialsThatItNames(t *testing.T) {
	const needsAdmin = `{"credentials":[{"name":"admin","sha256":"0"}]}`
	sealed := func(name string) []v1alpha1.SealedCredential {
		return []v1alpha1.SealedCredential{{Name: name, Sealed: base64.StdEncoding.EncodeToString([]byte("sealed"))}}
	}
	for _, c := range []struct {
		name        string
		document    string
		credentials []v1alpha1.SealedCredential
		want        string
	}{
		{"it needs none", `{}`, nil, `{}`},
		{"they are not published yet", needsAdmin, nil, ""},
		{"another one is published", needsAdmin, sealed("target"), ""},
		{"it is published", needsAdmin, sealed("admin"), needsAdmin + " with admin=sealed"},
		{"one that it does not name is for the agent to refuse", `{}`, sealed("admin"), `{} with admin=sealed`},
		{"a damaged command is for the agent to refuse", `{"credentials":`, nil, `{"credentials":`},
		{"a command over the limit of the wire is not sent", strings.Repeat("x", wire.MaxBundle+1), nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t, "r1")
			f.publish("r1")
			f.job("prune", 0, func(j *v1alpha1.HostJob) {
				j.Status.Command.Document, j.Status.Credentials = c.document, c.credentials
			})
			f.sends(c.want)
			f.job("prune", 0, func(j *v1alpha1.HostJob) {
				j.Status.Command.Document, j.Status.Credentials = needsAdmin, sealed("admin")
			})
			if c.want == "" {
				f.sends(needsAdmin + " with admin=sealed")
			} else {
				f.sends("")
			}
		})
	}
}

func TestCancellations(t *testing.T) {
	f := newFixture(t, "r1")
	f.publish("r1")
	cancelled := func(phase v1alpha1.HostJobPhase) func(*v1alpha1.HostJob) {
		return func(j *v1alpha1.HostJob) {
			j.Spec.Cancel, j.Status.Phase = true, phase
			j.Status.CancelCommand = &v1alpha1.SignedDocument{Document: "cancel " + j.Name}
		}
	}
	f.job("never-sent", 0, cancelled(v1alpha1.JobPending))
	f.job("now", 0, func(j *v1alpha1.HostJob) { j.Status.Phase = v1alpha1.JobRunning })
	f.sends("run now")
	f.job("now", 0, cancelled(v1alpha1.JobRunning))
	f.sends("cancel now")
	f.sends("")
	f.open(2, "r1") // the agent may have missed it
	f.sends("run now, cancel now")
}

func TestACommandThatAFullPeerDidNotTakeIsSentAgain(t *testing.T) {
	f := newFixture(t, "r1")
	f.publish("r1")
	f.job("now", 0, nil)
	f.link.full = true
	if err := f.sync(t.Context(), web1); err == nil {
		t.Fatal("no error, so no retry")
	}
	f.link.full = false
	f.sends("run now")
}

func TestTheEndOfAnOlderSessionDoesNotForgetTheNewer(t *testing.T) {
	f := newFixture(t, "r0")
	f.publish("r1")
	older := f.link
	f.open(2, "r0")
	f.Closed(older)
	f.sends("set r1")
	if older.take() != "" {
		t.Error("the older session got something")
	}
	f.hub.current = nil // ended, and not told yet
	f.publish("r2")
	f.sends("")
	f.Closed(f.link)
	for f.queue.Len() > 0 {
		host, _ := f.queue.Get()
		f.queue.Done(host)
	}
	f.changed(set("r3", nil))
	if f.queue.Len() != 0 {
		t.Error("a host that is not connected costs work")
	}
	if f.session(web1) != nil {
		t.Error("the session is remembered after its end")
	}
}

func TestWhatIsDamagedIsSentAsItIs(t *testing.T) {
	s := set("r1", func(s *v1alpha1.ScheduleSet) {
		s.Spec.Signatures = []v1alpha1.Signature{{KeyID: "k", Value: strings.Repeat("!", 128)}, {KeyID: "l", Value: base64.StdEncoding.EncodeToString([]byte("ok"))}}
		s.Spec.Credentials = []v1alpha1.SealedCredential{{Name: "repository", Sealed: "%%"}}
	})
	offer, err := offerOf(s)
	if err != nil {
		t.Fatal(err)
	}
	if err := offer.Validate(); err != nil || string(offer.Signatures[1].Value) != "ok" || string(offer.Credentials[0].Sealed) != "%%" {
		t.Errorf("offer is %+v, %v", offer, err)
	}
	s.Spec.Bundle = strings.Repeat("x", wire.MaxBundle+1)
	if _, err := offerOf(s); err == nil {
		t.Error("a set over the limit of the wire is offered")
	}
}

func TestWhatIsTakenToFitIsWhatCanBeEncoded(t *testing.T) {
	frameful := (wire.MaxFrame - 2*aside) / widest
	for _, c := range []struct {
		name        string
		text        string
		length      int
		credentials int
		want        bool
	}{
		{"a small one", "x", 1000, 1, true},
		{"the widest text that fits", "\x00", frameful, 0, true},
		{"invalid text", "\xff", 1000, 0, false},
		{"more of it", "\x00", frameful + aside, 0, false},
		{"narrow text as long", "x", frameful + aside, 0, true},
		{"the largest bundle", "x", wire.MaxBundle, 0, true},
		{"one that is larger", "x", wire.MaxBundle + 1, 0, false},
		{"one with large credentials", "x", wire.MaxBundle, 8, false},
		{"a small one with large credentials", "x", 1000, 8, true},
		{"too many credentials", "x", 1000, wire.MaxCredentials + 1, false},
		{"none at all", "", 0, 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			offer := &wire.SetOffer{Revision: "r", Bundle: strings.Repeat(c.text, c.length)}
			for i := range c.credentials {
				offer.Credentials = append(offer.Credentials, wire.SealedCredential{Name: fmt.Sprint(i), Sealed: make([]byte, wire.MaxSealed)})
			}
			_, want := wire.Encode("18446744073709551615", offer)
			err := sendable(offer, len(offer.Bundle), offer.Signatures, offer.Credentials)
			if (err == nil) != c.want || (want == nil) != c.want {
				t.Fatalf("error is %v, that of encoding it %v", err, want)
			}
			if err != nil && err.Error() != want.Error() && !strings.Contains(err.Error(), "frame of") {
				t.Errorf("error is %v, want %v", err, want)
			}
		})
	}
}
