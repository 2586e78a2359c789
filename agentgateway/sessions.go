package agentgateway

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/restic-manager/restic-manager/agentgateway/desired"
	"github.com/restic-manager/restic-manager/agentgateway/hub"
	"github.com/restic-manager/restic-manager/agentgateway/internal/lane"
	"github.com/restic-manager/restic-manager/agentgateway/report"
	"github.com/restic-manager/restic-manager/agentgateway/session"
	"github.com/restic-manager/restic-manager/agentgateway/stream"
	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	"k8s.io/client-go/util/workqueue"
)

const (
	// admitting is how long it may take to put a connection on record while the API server is busy.
	admitting = 5 * time.Second
	// longestAdmission is when an API server that does not answer is given up.
	longestAdmission = 20 * time.Second
)

// holding is what an open session has here.
type holding struct {
	link   *hub.Link
	stream *report.Stream
	// answers are the streams that people collect.
	answers *stream.Table
	fires   *lane.Lane[*wire.Fire]
}

func reportSession(s *session.Session) report.Session {
	record, _ := s.Record.(*report.Record)
	return report.Session{Host: s.Host(), Counter: s.Counter(), Process: s.Process(), Greeted: s.AppliedRevision(), Record: record}
}

// Admit implements session.Handler: the connection is put on record, or refused.
func (g *Gateway) Admit(ctx context.Context, s *session.Session, hello *wire.HelloBody) error {
	if !g.connects.Allow(s.Host().String(), g.o.Clock.Now()) {
		return &wire.Error{Code: wire.CodeBusy, Message: fmt.Sprintf("Host %s connects too often", s.Host()), RetryAfterSeconds: connectRetry}
	}
	select {
	case g.admissions <- struct{}{}:
		defer func() { <-g.admissions }()
	case <-ctx.Done():
		return session.ErrNoTime
	}
	// What is cut off when it has begun costs the API server as much as what is done, and those behind their turn.
	if until, ok := ctx.Deadline(); ctx.Err() != nil || ok && time.Until(until) < admitting {
		return session.ErrNoTime
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), longestAdmission)
	defer cancel()
	record, err := g.writer.Connect(ctx, report.Newcomer{
		Session:    reportSession(s),
		SigningKey: base64.StdEncoding.EncodeToString(s.Key()),
		Hello:      hello,
		Skew:       s.Skew(),
		Holds: func(counter int64) bool {
			link := g.hub.Get(s.Host())
			return link != nil && link.Counter() == counter
		},
	})
	var refused *wire.Error
	if err != nil && !errors.As(err, &refused) {
		// The write may have been done all the same.
		g.departures.later(s, g.o.Clock.Now())
	}
	if err == nil {
		s.Record = record
	}
	return err
}

// Opened implements session.Handler.
func (g *Gateway) Opened(s *session.Session, hello *wire.HelloBody) {
	link := g.hub.Add(s)
	if link == nil {
		return // a newer one was faster; the hub has closed this one
	}
	h := &holding{link: link, stream: g.writer.NewStream(reportSession(s), link), answers: stream.NewTable(link)}
	h.fires = lane.New(waitingFires, func(fire *wire.Fire) { g.answer(link, fire) }, nil)
	g.open.Store(s, h)
	g.tables.Store(link, h.answers)
	g.o.Logger.Info("agent connected", "host", s.Host().String(), "session", s.Counter(), "remote", s.Remote(), "agent", hello.AgentVersion,
		"restic", hello.ResticVersion, "applied", hello.AppliedRevision, "unacked", hello.Unacked)
	g.pusher.Opened(link, base64.StdEncoding.EncodeToString(s.Key()), hello.AppliedRevision, hello.AppliedSerial)
}

// Received implements session.Handler.
func (g *Gateway) Received(s *session.Session, message wire.Message) error {
	found, ok := g.open.Load(s)
	if !ok {
		return hub.Superseded()
	}
	h := found.(*holding)
	switch m := message.(type) {
	case *wire.Fire:
		ctx, cancel := context.WithTimeout(context.Background(), wire.VerdictTimeout)
		defer cancel()
		if err := h.fires.Put(ctx, m); err != nil {
			return &wire.Error{Code: wire.CodeBusy, Message: "too many fires at once", RetryAfterSeconds: 10}
		}
		return nil
	case *wire.SetAck:
		g.metrics.answered(s, m, g.o.Clock.Now())
		g.o.Logger.Info("set answered", "host", s.Host().String(), "revision", m.Revision, "applied", m.Applied, "reason", string(m.Reason))
		return h.stream.Take(m)
	case *wire.CommandAck:
		g.o.Logger.Info("command answered", "host", s.Host().String(), "job", m.JobID, "accepted", m.Accepted, "reason", string(m.Reason))
		return h.stream.Take(m)
	case *wire.JobStarted, *wire.JobProgress, *wire.JobFinished, *wire.RepoState, *wire.RepoStats:
		return h.stream.Take(m)
	case *wire.StreamClose:
		h.answers.Closed(m)
		return nil
	default:
		return &wire.Error{Code: wire.CodeBadMessage, Message: fmt.Sprintf("%s is not for agents to send", m.MessageType())}
	}
}

// Streamed implements session.Handler.
func (g *Gateway) Streamed(s *session.Session, number uint32, chunk []byte) {
	if found, ok := g.open.Load(s); ok {
		found.(*holding).answers.Data(number, chunk)
	}
}

// Closed implements session.Handler.
func (g *Gateway) Closed(s *session.Session, cause error) {
	if found, ok := g.open.LoadAndDelete(s); ok {
		h := found.(*holding)
		g.tables.Delete(h.link)
		h.answers.End()
		h.stream.End()
		h.fires.End()
		g.pusher.Closed(h.link)
		g.hub.Remove(h.link)
	}
	g.metrics.closed(s, cause)
	g.o.Logger.Info("agent disconnected", "host", s.Host().String(), "session", s.Counter(), "reason", cause)
	g.departures.later(s, s.LastFrame())
}

// departures writes that hosts are disconnected, once that is certain.
type departures struct {
	g     *Gateway
	queue workqueue.TypedRateLimitingInterface[departure]
}

// departure is a session that ended.
type departure struct {
	session report.Session
	// ended is when it was there last, in Unix nanoseconds: comparable, whatever the clock that made it.
	ended int64
}

func newDepartures(g *Gateway) *departures {
	limiter := workqueue.NewTypedItemExponentialFailureRateLimiter[departure](retryFirst, retryLast)
	return &departures{g: g, queue: workqueue.NewTypedRateLimitingQueueWithConfig(limiter,
		workqueue.TypedRateLimitingQueueConfig[departure]{Name: "departures", Clock: g.o.Clock})}
}

// later looks at a session again when its host, which was there at some time, would be offline.
func (d *departures) later(s *session.Session, last time.Time) {
	d.queue.AddAfter(departure{reportSession(s), last.UnixNano()}, last.Add(d.g.o.OfflineAfter).Sub(d.g.o.Clock.Now()))
}

func (d *departures) work(ctx context.Context) bool {
	item, shutdown := d.queue.Get()
	if shutdown {
		return false
	}
	defer d.queue.Done(item)
	if err := d.settle(ctx, item); err != nil && ctx.Err() == nil {
		d.g.o.Logger.Warn("disconnection not written yet", "host", item.session.Host.String(), "error", err)
		d.queue.AddRateLimited(item)
		return true
	}
	d.queue.Forget(item)
	return true
}

func (d *departures) settle(ctx context.Context, item departure) error {
	if d.g.draining.Load() {
		return nil // the Lease says it
	}
	host := item.session.Host
	if link := d.g.hub.Get(host); link != nil && link.Counter() >= item.session.Counter {
		return nil
	}
	// The cache may be behind, never ahead: a newer connection in it needs no request.
	if set, err := d.g.published(ctx, host); err == nil && set.Status.Connection != nil && set.Status.Connection.Session > item.session.Counter {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return d.g.writer.Disconnect(ctx, item.session, unixNano(item.ended))
}

// links lets desired find links in the hub.
type links struct{ *hub.Hub }

// Link implements desired.Hub.
func (l links) Link(host wire.HostRef) (desired.Link, bool) {
	if link := l.Get(host); link != nil {
		return link, true
	}
	return nil, false
}

// jobs lets desired mark jobs through the one writer.
type jobs struct{ writer *report.Writer }

// Dispatched implements desired.Jobs.
func (j jobs) Dispatched(ctx context.Context, link desired.Link, job *v1alpha1.HostJob) (bool, error) {
	return j.writer.Dispatched(ctx, report.Session{Host: link.Host(), Counter: link.Counter()}, job)
}
