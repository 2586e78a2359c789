package delivery

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/restic-manager/restic-manager/agent/clock/clocktest"
	"github.com/restic-manager/restic-manager/agent/outbox"
	"github.com/restic-manager/restic-manager/agent/session"
	"github.com/restic-manager/restic-manager/api/wire"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// mailbox is a sender that remembers, and can be out of service.
type mailbox struct {
	mu   sync.Mutex
	err  error
	sent []int64
	news chan struct{}
}

func (m *mailbox) Send(message wire.Message) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return m.err
	}
	m.sent = append(m.sent, message.(wire.Report).ID().Seq)
	select {
	case m.news <- struct{}{}:
	default:
	}
	return nil
}

func (m *mailbox) take() []int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := m.sent
	m.sent = nil
	return out
}

func (m *mailbox) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.err = err
}

type reportBench struct {
	*Delivery
	dir  string
	mail *mailbox
	time *clocktest.Clock
	log  *bytes.Buffer
}

func newReportBench(t *testing.T) *reportBench {
	t.Helper()
	b := &reportBench{dir: t.TempDir(), mail: &mailbox{news: make(chan struct{}, 1)}, time: clocktest.New(start), log: &bytes.Buffer{}}
	b.reopen(t)
	return b
}

func (b *reportBench) reopen(t *testing.T) {
	t.Helper()
	logger := slog.New(slog.NewTextHandler(b.log, nil))
	box, err := outbox.Open(b.dir, outbox.Options{Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	b.Delivery = New(box, b.mail, b.time, logger)
}

func result(n int) *wire.JobFinished {
	return &wire.JobFinished{Job: wire.JobRef{JobID: fmt.Sprintf("fire-%d", n), Kind: wire.JobBackup}, Outcome: wire.OutcomeSucceeded, FinishedAt: start}
}

func (b *reportBench) ack(seq int64) {
	b.Acked(&wire.ReportAck{Report: wire.ReportID{Epoch: b.box.Epoch(), Seq: seq}})
}

func numbers(from, to int64) []int64 {
	var out []int64
	for n := from; n <= to; n++ {
		out = append(out, n)
	}
	return out
}

func (b *reportBench) expect(t *testing.T, what string, want []int64) {
	t.Helper()
	b.pump()
	if got := b.mail.take(); !slices.Equal(got, want) {
		t.Errorf("%s: sent %v, want %v", what, got, want)
	}
}

func TestReportsGoOutInOrderAWindowAtATime(t *testing.T) {
	b := newReportBench(t)
	for n := range 40 {
		b.Add(result(n))
	}
	b.expect(t, "without a session", nil)
	b.SessionOpened()
	b.expect(t, "with a session", numbers(1, 16))
	b.expect(t, "without an ack", nil)
	b.ack(4)
	b.expect(t, "after four acks", numbers(17, 20))
	b.SessionClosed()
	b.expect(t, "after the session", nil)
	b.SessionOpened()
	b.expect(t, "in the next session, from the first that was not acked", numbers(5, 20))
	b.ack(20)
	b.expect(t, "after an ack of all", numbers(21, 36))
	b.reopen(t)
	b.SessionOpened()
	b.expect(t, "after a restart", numbers(21, 36))
	b.ack(36)
	b.expect(t, "at last", numbers(37, 40))
	b.ack(40)
	if b.Waiting() != 0 {
		t.Errorf("%d reports wait, want none", b.Waiting())
	}
}

func TestAnAckOfWhatWasNeverSentLosesNothing(t *testing.T) {
	b := newReportBench(t)
	for n := range 20 {
		b.Add(result(n))
	}
	b.ack(3)
	b.SessionOpened()
	b.ack(20)
	b.expect(t, "the first window", numbers(1, 16))
	b.ack(17)
	b.ack(1 << 62)
	b.Acked(&wire.ReportAck{Report: wire.ReportID{Epoch: "another", Seq: 5}})
	if b.Waiting() != 20 {
		t.Errorf("%d reports wait, want all 20", b.Waiting())
	}
	if n := strings.Count(b.log.String(), "not sent in this session"); n != 2 {
		t.Errorf("%d lies were logged, want the first before the session and the first in it:\n%s", n, b.log)
	}
}

func TestAFullQueueIsTriedAgain(t *testing.T) {
	b := newReportBench(t)
	b.Add(result(1))
	b.SessionOpened()
	b.mail.fail(session.ErrQueueFull)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); b.Run(ctx) }()
	defer func() { cancel(); <-done }()
	b.time.BlockUntil(1)
	b.mail.fail(nil)
	b.time.Advance(retrySend)
	<-b.mail.news
	if got := b.mail.take(); !slices.Equal(got, []int64{1}) {
		t.Errorf("sent %v", got)
	}
}

func TestADisconnectedSenderIsNotTriedForEver(t *testing.T) {
	b := newReportBench(t)
	b.Add(result(1))
	b.SessionOpened()
	b.mail.fail(session.ErrNotConnected)
	if d := b.pump(); d != 0 {
		t.Errorf("the pump wants to try again in %v; the next session wakes it", d)
	}
	b.mail.fail(errors.New("unencodable"))
	b.pump()
	if b.Waiting() != 1 {
		t.Error("a report that cannot be sent was lost")
	}
}

func TestAReportThatDoesNotFitOnTheDiskWaitsInMemory(t *testing.T) {
	b := newReportBench(t)
	if err := os.RemoveAll(b.dir); err != nil {
		t.Fatal(err)
	}
	b.Add(result(1))
	b.Add(result(2))
	if b.Waiting() != 2 {
		t.Fatalf("%d reports wait, want 2", b.Waiting())
	}
	if d := b.pump(); d != retryStore {
		t.Errorf("tries again in %v, want %v", d, retryStore)
	}
	if err := os.Mkdir(b.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	b.SessionOpened()
	b.pump()
	if got := b.mail.take(); len(got) != 2 || got[0] >= got[1] {
		t.Errorf("once there is a disk: sent %v, want both in order", got)
	}
}
