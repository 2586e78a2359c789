package query_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/cli/kube"
	"github.com/restic-manager/restic-manager/cli/query"
	"github.com/restic-manager/restic-manager/test/collector"
)

// hurried is a clock by which every pause is a thousandth of what it is, and every deadline with an impatient one a tenth.
type hurried struct {
	clock.RealClock
	impatient bool
}

func (hurried) After(d time.Duration) <-chan time.Time { return time.After(d / 1000) }
func (c hurried) AfterFunc(d time.Duration, f func()) clock.Timer {
	if c.impatient {
		d /= 10
	}
	return c.RealClock.AfterFunc(d, f)
}

func newClient() client.WithWatch {
	return fake.NewClientBuilder().WithScheme(kube.Scheme()).WithStatusSubresource(&v1alpha1.HostQuery{}).Build()
}

func newHost(c *collector.Collector) *v1alpha1.Host {
	return &v1alpha1.Host{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-1"}, Spec: v1alpha1.HostSpec{Identity: c.Identity()}}
}

var twoSnapshots = []any{wire.SnapshotRecord{ID: strings.Repeat("a", 64)}, wire.SnapshotRecord{ID: strings.Repeat("b", 64)}}

func snapshots(_ *wire.HostQuery, _ wire.QueryParameters, w *collector.Writer) error {
	return w.Record(twoSnapshots...)
}

func TestAnAnswerIsWholeOrAnErrorThatSaysWhatToDo(t *testing.T) {
	endsWith := func(err error) collector.Answer {
		return func(_ *wire.HostQuery, _ wire.QueryParameters, w *collector.Writer) error {
			if sendErr := w.Record(twoSnapshots...); sendErr != nil {
				return sendErr
			}
			return err
		}
	}
	refuses := func(status int, code wire.Code, times int) func(*collector.Collector) {
		return func(c *collector.Collector) {
			c.Refuse = func(attempt int) (int, *wire.Error) {
				if attempt > times {
					return 0, nil
				}
				return status, &wire.Error{Code: code, Message: "so it is"}
			}
		}
	}
	for _, tt := range []struct {
		name   string
		answer collector.Answer
		set    func(*collector.Collector)
		host   func(*v1alpha1.Host)
		want   query.Problem
		says   string
		again  bool
	}{
		{name: "all goes well", answer: snapshots},
		{name: "the gateway sees the query a moment later", answer: snapshots, set: refuses(404, wire.CodeUnknownQuery, 2)},
		{name: "the host is not enrolled", host: func(h *v1alpha1.Host) { h.Spec.Identity = nil }, want: query.ProblemNotEnrolled, says: "kubectl restic enroll web-1 -n shop"},
		{name: "the controllers refuse the query", set: func(c *collector.Collector) {
			c.Condition = &metav1.Condition{Type: v1alpha1.ConditionStalled, Status: "True", Reason: "Invalid", Message: "spec.publicKey is no key"}
		}, want: query.ProblemStalled, says: "spec.publicKey is no key"},
		{name: "the controllers wait for something", set: func(c *collector.Collector) {
			c.Condition = &metav1.Condition{Type: v1alpha1.ConditionReady, Status: "False", Reason: "HostNotFound", Message: "there is no Host"}
		}, want: query.ProblemNotSigned, says: "there is no Host", again: true},
		{name: "nobody signs", set: func(c *collector.Collector) { c.Unsigned = true }, want: query.ProblemNotSigned, says: "controllers do not run", again: true},
		{name: "the gateway never knew the query", set: refuses(404, wire.CodeUnknownQuery, 1<<30), want: query.ProblemUnknown, says: "another cluster", again: true},
		{name: "the machine is not connected", set: refuses(503, wire.CodeNotConnected, 1<<30), want: query.ProblemNotConnected, says: "kubectl restic doctor web-1 -n shop", again: true},
		{name: "the gateway is busy", set: refuses(503, wire.CodeBusy, 1<<30), want: query.ProblemBusy, says: "try again", again: true},
		{name: "something else stands in front of the gateway", set: func(c *collector.Collector) {
			c.Refuse = func(int) (int, *wire.Error) { return http.StatusBadGateway, &wire.Error{} }
		}, want: query.ProblemUnreachable, says: "502", again: true},
		{name: "somebody else answers", answer: snapshots, set: func(c *collector.Collector) { c.Forge = true }, want: query.ProblemForged, says: "not the answer of machine shop/web-1"},
		{name: "the gateway cuts the end off", answer: endsWith(collector.ErrHeadless), want: query.ProblemForged, says: "a part of it is missing"},
		{name: "the session of the agent ends", answer: endsWith(collector.ErrLost), want: query.ProblemLost, says: "lost machine", again: true},
		{name: "the network ends", answer: endsWith(collector.ErrDrop), want: query.ProblemLost, says: "broke off", again: true},
		{name: "the time is over", answer: endsWith(collector.ErrExpired), want: query.ProblemExpired, says: "time of the question", again: true},
		{name: "the machine refuses the query", answer: func(*wire.HostQuery, wire.QueryParameters, *collector.Writer) error {
			return collector.Refusal(wire.RefusalNotAllowed)
		}, want: query.ProblemRefused, says: "agent.yaml"},
		{name: "the machine does not allow it", answer: endsWith(collector.End{Reason: wire.AnswerNotAllowed, Message: "allow.queries is logs"}),
			want: query.Problem(wire.AnswerNotAllowed), says: "allow.queries is logs"},
		{name: "the machine is busy", answer: endsWith(collector.End{Reason: wire.AnswerBusy}), want: query.Problem(wire.AnswerBusy), says: "try again", again: true},
		{name: "restic fails", answer: endsWith(collector.End{Reason: wire.AnswerFailed, Message: "wrong password"}), want: query.Problem(wire.AnswerFailed), says: "wrong password"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := newClient()
			machine := collector.Start(t, c, tt.answer)
			if tt.set != nil {
				tt.set(machine)
			}
			host := newHost(machine)
			if tt.host != nil {
				tt.host(host)
			}
			got := 0
			asker := &query.Asker{Client: c, Clock: hurried{impatient: tt.want == query.ProblemNotSigned}}
			err := query.Records(t.Context(), asker, query.Question{Host: host, Kind: wire.QuerySnapshots}, func(wire.SnapshotRecord) error { got++; return nil })
			if tt.want == "" {
				if err != nil || got != len(twoSnapshots) {
					t.Fatalf("%d snapshots and %v, expected %d and no error", got, err, len(twoSnapshots))
				}
			} else if query.ProblemOf(err) != tt.want || !strings.Contains(err.Error(), tt.says) {
				t.Fatalf("got problem %q: %v\nexpected %q, and that it says %q", query.ProblemOf(err), err, tt.want, tt.says)
			}
			var e *query.Error
			if errors.As(err, &e) && e.Again() != tt.again {
				t.Errorf("asking again may help: %v, expected %v", e.Again(), tt.again)
			}
			noQueries(t, c)
		})
	}
}

// noQueries checks that nothing stays in the cluster.
func noQueries(t *testing.T, c client.Client) {
	t.Helper()
	left := &v1alpha1.HostQueryList{}
	if err := c.List(t.Context(), left); err != nil || len(left.Items) > 0 {
		t.Errorf("%d HostQueries are left (%v), expected none", len(left.Items), err)
	}
}

func TestParametersAndAnswersAreForTheMachineAlone(t *testing.T) {
	c := newClient()
	machine := collector.Start(t, c, func(_ *wire.HostQuery, p wire.QueryParameters, w *collector.Writer) error {
		return w.Record(wire.FileRecord{Path: p.Files.Path})
	})
	asker := &query.Asker{Client: c, Clock: hurried{}}
	question := query.Question{Host: newHost(machine), Kind: wire.QueryFiles,
		Parameters: wire.QueryParameters{Files: &wire.FilesQuery{Snapshot: "deadbeef", Path: "/etc/shadow"}}}
	var got string
	if err := query.Records(t.Context(), asker, question, func(f wire.FileRecord) error { got = f.Path; return nil }); err != nil || got != "/etc/shadow" {
		t.Fatalf("got %q, %v", got, err)
	}
	for _, q := range machine.Seen() {
		if bytes.Contains(q.Parameters, []byte("shadow")) {
			t.Error("the path stands in the query in clear")
		}
	}
}

func TestWhoGivesUpLeavesNothingBehind(t *testing.T) {
	c := newClient()
	ctx, cancel := context.WithCancel(t.Context())
	machine := collector.Start(t, c, func(_ *wire.HostQuery, _ wire.QueryParameters, w *collector.Writer) error {
		cancel()
		for {
			if err := w.Data([]byte("line\n")); err != nil {
				return err
			}
		}
	})
	asker := &query.Asker{Client: c, Clock: hurried{}}
	err := asker.Ask(ctx, query.Question{Host: newHost(machine), Kind: wire.QueryLog}, query.Sink{})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, expected that it was cancelled", err)
	}
	noQueries(t, c)
}

func TestAForwardedPortStandsInForTheGateway(t *testing.T) {
	c := newClient()
	machine := collector.Start(t, c, snapshots)
	asker := &query.Asker{Client: c, Clock: hurried{}, GatewayAddress: "127.0.0.1:1"}
	question := query.Question{Host: newHost(machine), Kind: wire.QuerySnapshots}
	err := asker.Ask(t.Context(), question, query.Sink{})
	if query.ProblemOf(err) != query.ProblemUnreachable || !strings.Contains(err.Error(), "127.0.0.1:1") || !strings.Contains(err.Error(), "port-forward") {
		t.Errorf("got %v, expected that 127.0.0.1:1 cannot be reached", err)
	}
	asker.GatewayAddress = machine.Address()
	if err := asker.Ask(t.Context(), question, query.Sink{}); err != nil {
		t.Error(err)
	}
}
