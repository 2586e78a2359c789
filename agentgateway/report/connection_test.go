package report

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func errorOf(_ *Record, err error) error { return err }

func refusal(t *testing.T, err error, code wire.Code) *wire.Error {
	t.Helper()
	var e *wire.Error
	if !errors.As(err, &e) || e.Code != code {
		t.Fatalf("got %v, want %s", err, code)
	}
	return e
}

func TestTheGreaterSessionCounterIsOnRecord(t *testing.T) {
	f := newFixture(t)
	f.connect(3, "p1")
	got := f.set().Status.Connection
	if got.Gateway != "gw-1" || got.Session != 3 || got.Process != "p1" || !got.ConnectedTime.Time.Equal(start) {
		t.Errorf("connection is %+v", got)
	}
	for _, counter := range []int64{2, 3} {
		if e := refusal(t, errorOf(f.Connect(t.Context(), f.newcomer(counter, "p1"))), wire.CodeStaleSession); e.Session != 3 {
			t.Errorf("the counter on record is told as %d", e.Session)
		}
	}
	f.connect(4, "p1")
	if got := f.set().Status.Connection; got.Session != 4 || got.PreviousProcess != "" {
		t.Errorf("connection is %+v", got)
	}
	if w := f.meter.wrote(); w["schedulesets"] != 2 {
		t.Errorf("writes are %v, want one for each connection", w)
	}
	if f.meter.reconnects != 1 {
		t.Errorf("%d reconnects are counted: a first connection is none, whatever its counter, nor is a refused one", f.meter.reconnects)
	}
}

func TestAnOlderConnectionThatIsWrittenLateNeverWins(t *testing.T) {
	f := newFixture(t)
	other := f.replica("gw-2", f.clock)
	slow := &interceptor{Client: f.client}
	slow.beforePatch = func(client.Object) error {
		slow.beforePatch = nil
		// Between this replica's read and its write the agent has moved on.
		return errorOf(other.Connect(t.Context(), f.newcomer(6, "p1")))
	}
	late := NewWriter(Options{Client: slow, Live: f.client, Cache: slimmed{f.client}, Gateway: "gw-1", Clock: f.clock, Meter: f.meter, Logger: f.o.Logger})
	refusal(t, errorOf(late.Connect(t.Context(), f.newcomer(5, "p1"))), wire.CodeStaleSession)
	if got := f.set().Status.Connection; got.Session != 6 || got.Gateway != "gw-2" {
		t.Errorf("connection is %+v", got)
	}
}

func TestTheEndOfAnOlderSessionDoesNotDisconnectTheNewer(t *testing.T) {
	f := newFixture(t)
	older := f.connect(1, "p1")
	newer := f.connect(2, "p1")
	f.meter.wrote()
	if err := f.Disconnect(t.Context(), older, start); err != nil {
		t.Fatal(err)
	}
	if got := f.set().Status.Connection.DisconnectedTime; got != nil || len(f.meter.wrote()) != 0 {
		t.Errorf("the newer session was disconnected at %v", got)
	}
	for range 2 {
		if err := f.Disconnect(t.Context(), newer, start.Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	if got := f.set().Status.Connection.DisconnectedTime; got == nil || !got.Time.Equal(start.Add(time.Minute)) {
		t.Errorf("disconnected at %v", got)
	}
	if w := f.meter.wrote(); w["schedulesets"] != 1 {
		t.Errorf("writes are %v, want one", w)
	}
	f.connect(3, "p1")
	if got := f.set().Status.Connection.DisconnectedTime; got != nil {
		t.Errorf("the new connection is disconnected at %v", got)
	}
}

func TestACloneIsToldAndDoesNotFlap(t *testing.T) {
	f := newFixture(t)
	f.connect(1, "original")
	f.connect(2, "clone") // might be a restart of the agent
	n := f.newcomer(3, "original")
	if e := refusal(t, errorOf(f.Connect(t.Context(), n)), wire.CodeDuplicateIdentity); e.RetryAfterSeconds != 300 {
		t.Errorf("retry after %d s", e.RetryAfterSeconds)
	}
	status := f.set().Status
	if status.Connection.Process != "clone" || status.Connection.Session != 2 {
		t.Errorf("the connection went over to %+v", status.Connection)
	}
	if d := status.Duplicate; d == nil || d.Process != "original" || d.Hostname != "host-of-original" || !d.LastSeen.Time.Equal(start) {
		t.Errorf("duplicate is %+v", d)
	}
	if _, ok := f.events()[v1alpha1.EventDuplicateIdentity]; !ok {
		t.Error("no Event")
	}
	f.meter.wrote()
	refusal(t, errorOf(f.Connect(t.Context(), n)), wire.CodeDuplicateIdentity)
	if w := f.meter.wrote(); len(w) != 0 {
		t.Errorf("an attempt right after wrote %v", w)
	}
	f.connect(4, "clone") // the other goes on, and the original stays known
	refusal(t, errorOf(f.Connect(t.Context(), f.newcomer(5, "original"))), wire.CodeDuplicateIdentity)

	if err := f.Disconnect(t.Context(), f.session(4, "clone"), start); err != nil {
		t.Fatal(err)
	}
	f.clock.SetTime(start.Add(time.Hour))
	f.connect(6, "original") // the other one is gone
	if got := f.set().Status; got.Connection.PreviousProcess != "clone" || got.Duplicate != nil {
		t.Errorf("connection is %+v, duplicate %+v", got.Connection, got.Duplicate)
	}
}

func TestAnAgentThatReturnsAfterItsGatewayLostTheOtherIsTaken(t *testing.T) {
	f := newFixture(t)
	f.connect(1, "a")
	f.connect(2, "b")
	n := f.newcomer(3, "a")
	n.Holds = func(counter int64) bool { return counter != 2 }
	if _, err := f.Connect(t.Context(), n); err != nil {
		t.Errorf("this replica knows that it does not hold b any more, and says %v", err)
	}
}

func TestAConnectionIsRefused(t *testing.T) {
	f := newFixture(t)
	n := f.newcomer(1, "p1")
	n.SigningKey = keyOf('z')
	refusal(t, errorOf(f.Connect(t.Context(), n)), wire.CodeBadSignature)
	n = f.newcomer(1, "p1")
	n.Host.Name = "nobody"
	refusal(t, errorOf(f.Connect(t.Context(), n)), wire.CodeUnknownHost)
	if w := f.meter.wrote(); len(w) != 0 {
		t.Errorf("writes are %v", w)
	}
}

func TestTheRevisionInForceIsWrittenWithTheConnection(t *testing.T) {
	f := newFixture(t)
	n := f.newcomer(1, "p1")
	n.Hello.AppliedRevision, n.Hello.AppliedSerial = "r1", 1
	if _, err := f.Connect(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	if got := f.set().Status; got.AppliedRevision != "r1" || got.AppliedSerial != 1 || got.AppliedTime == nil || f.meter.wrote()["schedulesets"] != 1 {
		t.Errorf("status is %+v", got)
	}
	// The ack that may follow says nothing new.
	if err := f.SetAcked(t.Context(), n.Session, &wire.SetAck{Revision: "r1", Applied: true}); err != nil {
		t.Fatal(err)
	}
	if w := f.meter.wrote(); len(w) != 0 {
		t.Errorf("writes are %v", w)
	}
	n = f.newcomer(2, "p2") // its state folder was lost
	if _, err := f.Connect(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	if got := f.set().Status; got.AppliedRevision != "" || got.AppliedSerial != 0 || got.AppliedTime != nil {
		t.Errorf("status is %+v", got)
	}
}

func TestASerialIsWrittenWhereSomethingFollowsFromIt(t *testing.T) {
	published := func() *v1alpha1.ScheduleSet {
		set := &v1alpha1.ScheduleSet{}
		set.Spec.Revision, set.Spec.Serial = "r4", 40
		set.Status.AppliedRevision, set.Status.AppliedSerial = "r1.5", 15
		set.Spec.Groups = []v1alpha1.ScheduleSetGroup{{Name: "etc", Serial: 10}, {Name: "home", Serial: 40}}
		set.Spec.Schedules = []v1alpha1.ScheduleSetSchedule{{Name: "nightly", Serial: 20}}
		return set
	}
	for _, test := range []struct {
		test     string
		revision string
		serial   int64
		want     int64
	}{
		{"that of the published set", "r4", 40, 40},
		{"of one of its groups", "r1", 10, 10},
		{"of one of its schedules", "r2", 20, 20},
		{"that on record", "r1.5", 15, 15},
		{"none, of an agent of before that has the set on record", "r1.5", 0, 15},
		{"one that this cluster does not know", "lost", 30, 0},
		{"one that is later than all, by which the controllers know that some were lost", "lost", 50, 50},
		{"none, of an agent of before that has the published set", "r4", 0, 40},
		{"none, of an agent of before that has another one", "r2", 0, 0},
		{"none, since there is no set", "", 0, 0},
	} {
		if got := knownSerial(published(), test.revision, test.serial); got != test.want {
			t.Errorf("%s: %d, want %d", test.test, got, test.want)
		}
	}
}

func TestALateAckOfASetThatWasOfferedHereCounts(t *testing.T) {
	set := &v1alpha1.ScheduleSet{}
	set.Spec.Revision, set.Spec.Serial = "r8", 80
	came := Session{Greeted: "r6"}
	for _, test := range []struct {
		test string
		ack  wire.SetAck
		want int64
	}{
		{"of what was offered before the published one", wire.SetAck{Revision: "r7", Serial: 70}, 70},
		{"of what the machine came with, which nobody knows here", wire.SetAck{Revision: "r6", Serial: 60}, 0},
		{"without a serial", wire.SetAck{Revision: "r7"}, 0},
	} {
		if got := ackedSerial(set, came, &test.ack); got != test.want {
			t.Errorf("%s: %d, want %d", test.test, got, test.want)
		}
	}
}

func TestWhatTheAgentSaysOfItselfIsOnRecordWithItsConnection(t *testing.T) {
	f := newFixture(t)
	hello := &wire.HelloBody{AgentVersion: "v1", Protocol: 1, ResticVersion: "0.19.1", System: wire.System{OS: "linux", Arch: "amd64", Hostname: "a"}}
	for i, c := range []struct {
		name   string
		change func()
		skew   time.Duration
		want   int64
	}{
		{name: "the first time", skew: 2 * time.Second, want: 2},
		{name: "again with a little more skew", skew: 25 * time.Second, want: 2},
		{name: "with much more skew", skew: 40 * time.Second, want: 40},
		{name: "over the limit", skew: 61 * time.Second, want: 61},
		{name: "a bit further", skew: 70 * time.Second, want: 61},
		{name: "within the limit again", skew: 59 * time.Second, want: 59},
		{name: "upgraded", skew: 50 * time.Second, change: func() { hello.ResticVersion = "0.20.0" }, want: 59},
		{name: "with no usable restic", skew: 50 * time.Second, change: func() { hello.ResticVersion = "" }, want: 59},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.change != nil {
				c.change()
			}
			n := f.newcomer(int64(i+1), "p1")
			n.Hello, n.Skew = hello, c.skew
			if _, err := f.Connect(t.Context(), n); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(map[string]int{"schedulesets": 1}, f.meter.wrote()); diff != "" {
				t.Errorf("writes: %s", diff)
			}
			want := &v1alpha1.AgentStatus{Version: "v1", Protocol: 1, ResticVersion: hello.ResticVersion, OS: "linux", Arch: "amd64", Hostname: "a",
				ClockSkewSeconds: c.want}
			if diff := cmp.Diff(want, f.set().Status.Agent); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestSetAcks(t *testing.T) {
	f := newFixture(t)
	older := f.connect(1, "p1")
	s := f.connect(2, "p1")
	f.meter.wrote()
	ack := func(s Session, ack wire.SetAck, writes map[string]int) {
		t.Helper()
		if err := f.SetAcked(t.Context(), s, &ack); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(writes, f.meter.wrote()); diff != "" {
			t.Errorf("writes after %+v: %s", ack, diff)
		}
	}
	one := map[string]int{"schedulesets": 1}
	ack(s, wire.SetAck{Revision: "r1", Applied: true}, one)
	if got := f.set(); got.Status.AppliedSerial != got.Spec.Serial {
		t.Errorf("the set in force has the serial %d, want that of the published one, %d", got.Status.AppliedSerial, got.Spec.Serial)
	}
	ack(s, wire.SetAck{Revision: "r1", Applied: true}, nil)
	ack(older, wire.SetAck{Revision: "r0", Applied: true}, nil)
	bad := wire.SetAck{Revision: "r2", Reason: wire.RefusalBadSignature, Message: "signed by no key that this machine trusts"}
	ack(s, bad, map[string]int{"schedulesets": 1, "events": 1})
	ack(s, bad, nil)
	got := f.set().Status
	if got.AppliedRevision != "r1" || got.OfferedRevision != "r2" || got.Refusal == nil || got.Refusal.Reason != "BadSignature" || got.Refusal.Revision != "r2" {
		t.Errorf("status is %+v", got)
	}
	if e := f.events()[v1alpha1.EventSetRefused]; e.Regarding.Kind != "Host" || e.Regarding.Name != "web-1" || e.Type != "Warning" {
		t.Errorf("event is %+v", e)
	}
	ack(s, wire.SetAck{Revision: "r3", Applied: true}, one)
	if got := f.set().Status; got.Refusal != nil || got.AppliedRevision != "r3" || got.OfferedRevision != "r3" {
		t.Errorf("status is %+v", got)
	}
}

func TestARefusalStaysWhileTheRefusedSetIsThePublishedOne(t *testing.T) {
	f := newFixture(t)
	s := f.connect(1, "p1")
	ack := func(ack wire.SetAck, writes int) v1alpha1.ScheduleSetStatus {
		t.Helper()
		f.meter.wrote()
		if err := f.SetAcked(t.Context(), s, &ack); err != nil {
			t.Fatal(err)
		}
		if got := f.meter.wrote()["schedulesets"]; got != writes {
			t.Errorf("%+v cost %d writes, want %d", ack, got, writes)
		}
		return f.set().Status
	}
	publish := func(revision string) {
		t.Helper()
		set := f.set()
		set.Spec.Revision = revision
		if err := f.client.Update(t.Context(), set); err != nil {
			t.Fatal(err)
		}
	}
	inForce := wire.SetAck{Revision: "r1", Applied: true}
	ack(inForce, 1)
	publish("r2")
	ack(wire.SetAck{Revision: "r2", Reason: wire.RefusalBadSignature, Message: "no"}, 1)
	again := f.newcomer(2, "p1")
	again.Hello.AppliedRevision = "r1"
	if _, err := f.Connect(t.Context(), again); err != nil {
		t.Fatal(err)
	}
	s = again.Session
	if got := ack(inForce, 0); got.Refusal == nil || got.OfferedRevision != "r2" || got.AppliedRevision != "r1" {
		t.Errorf("after a reconnect: %+v", got)
	}
	hooks := inForce
	hooks.NotAllowed = []wire.NotAllowed{{What: "hooks", Message: "set allow.hooks"}}
	if got := ack(hooks, 1); got.Refusal == nil || len(got.NotAllowed) != 1 {
		t.Errorf("after agent.yaml changed: %+v", got)
	}
	publish("r1")
	if got := ack(hooks, 1); got.Refusal != nil || got.OfferedRevision != "r1" {
		t.Errorf("after the set in force was published again: %+v", got)
	}
}

func TestWhatTheMachineDoesNotAllowStandsBesideTheAppliedSet(t *testing.T) {
	f := newFixture(t)
	older := f.connect(1, "p1")
	s := f.connect(2, "p1")
	f.meter.wrote()
	hooks := wire.NotAllowed{What: "hooks", Message: "set allow.hooks"}
	dump := wire.NotAllowed{SourceGroup: "etc", What: "commands", Message: "set allow.commands"}
	many := make([]wire.NotAllowed, wire.MaxListed)
	for i := range many {
		many[i] = wire.NotAllowed{SourceGroup: strings.Repeat("g", 253), What: strings.Repeat("é", 126), Message: strings.Repeat("é", wire.MaxString/2)}
	}
	for _, c := range []struct {
		name   string
		from   Session
		ack    wire.SetAck
		writes int
		want   int
	}{
		{"a set with a hook and a dump", s, wire.SetAck{Revision: "r1", Applied: true, NotAllowed: []wire.NotAllowed{hooks, dump}}, 1, 2},
		{"the same again", s, wire.SetAck{Revision: "r1", Applied: true, NotAllowed: []wire.NotAllowed{hooks, dump}}, 0, 2},
		{"the late word of an older session", older, wire.SetAck{Revision: "r1", Applied: true}, 0, 2},
		{"the owner allows hooks, and the set is the same", s, wire.SetAck{Revision: "r1", Applied: true, NotAllowed: []wire.NotAllowed{dump}}, 1, 1},
		{"a set that is refused leaves the one in force", s, wire.SetAck{Revision: "r2", Reason: wire.RefusalBadSignature, Message: "no"}, 1, 1},
		{"a set without hooks and dumps", s, wire.SetAck{Revision: "r3", Applied: true}, 1, 0},
		{"more than anybody needs", s, wire.SetAck{Revision: "r4", Applied: true, NotAllowed: many}, 1, wire.MaxListed},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := c.ack.Validate(); err != nil {
				t.Fatal(err)
			}
			if err := f.SetAcked(t.Context(), c.from, &c.ack); err != nil {
				t.Fatal(err)
			}
			got := f.set().Status.NotAllowed
			if len(got) != c.want || f.meter.wrote()["schedulesets"] != c.writes {
				t.Errorf("not allowed: %+v", got)
			}
			for _, n := range got {
				if len(n.Message) > maxMessage || n.What == "" {
					t.Errorf("entry %+v", n)
				}
			}
		})
	}
}

func TestCommandAcks(t *testing.T) {
	f := newFixture(t)
	s := f.connect(1, "p1")
	running := f.job("running", v1alpha1.JobRunning)
	done := f.job("done", v1alpha1.JobSucceeded)
	sent := f.job("sent", v1alpha1.JobDispatched)
	f.meter.wrote()
	for _, c := range []struct {
		name   string
		ack    wire.CommandAck
		writes map[string]int
	}{
		{"accepted", wire.CommandAck{JobID: "job-1", Accepted: true}, nil},
		{"known already, and still running", wire.CommandAck{JobID: wire.CommandID(string(running.UID)), Reason: wire.RefusalAlreadyRun}, nil},
		{"refused", wire.CommandAck{JobID: "job-1", Reason: wire.RefusalExpired, Message: "too late"}, map[string]int{"schedulesets": 1, "events": 1}},
		{"refused again", wire.CommandAck{JobID: "job-1", Reason: wire.RefusalExpired, Message: "too late"}, nil},
		{"refused, with a HostJob", wire.CommandAck{JobID: wire.CommandID(string(sent.UID)), Reason: wire.RefusalBadSignature, Message: "not signed"},
			map[string]int{"hostjobs": 1, "schedulesets": 1, "events": 1}},
		{"replayed after its end", wire.CommandAck{JobID: wire.CommandID(string(done.UID)), Reason: wire.RefusalAlreadyRun},
			map[string]int{"schedulesets": 1, "events": 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := f.CommandAcked(t.Context(), s, &c.ack); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.writes, f.meter.wrote()); diff != "" {
				t.Error(diff)
			}
		})
	}
	if got := f.getJob("sent").Status; got.Phase != v1alpha1.JobFailed || got.Result == nil || got.Result.Reason != string(wire.ReasonRefused) ||
		!strings.Contains(got.Result.Message, "not signed") || got.CompletionTime == nil {
		t.Errorf("status of the refused job is %+v", got)
	}
	if got := f.set().Status.CommandRefusal; got == nil || got.Reason != "AlreadyRun" || got.JobID != wire.CommandID(string(done.UID)) {
		t.Errorf("refusal is %+v", got)
	}
}
