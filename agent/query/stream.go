package query

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/api/wire/seal"
)

// goodbyePatience is how long the end of an answer may wait for the gateway.
const goodbyePatience = 3 * time.Second

// stream is one query and its answer.
type stream struct {
	answers *Answers
	number  uint32
	text    string // of the query, as it was signed
	query   *wire.HostQuery
	out     Outlet
	credit  *credit

	// life ends when nobody listens any more.
	life context.Context
	end  context.CancelCauseFunc
}

func newStream(a *Answers, m *wire.StreamOpen, query *wire.HostQuery, out Outlet) *stream {
	s := &stream{answers: a, number: m.Stream, text: m.Query, query: query, out: out, credit: newCredit(m.Credit)}
	s.life, s.end = context.WithCancelCause(context.Background())
	return s
}

// run answers. Its last word is an AnswerEnd, and a StreamClose behind it.
func (s *stream) run(busy bool) {
	defer s.end(nil)
	o := &s.answers.o
	began := o.Clock.Now()
	work, cancel := s.working()
	defer cancel()
	opening, sealer, err := seal.NewStreamSealer(s.query.PublicKey, s.text, o.Sign)
	if err != nil {
		o.Logger.Warn("a query was refused", "hostQuery", s.query.Name, "uid", s.query.UID, "error", err)
		s.out.Refuse(&wire.StreamClose{Stream: s.number, Reason: wire.RefusalInvalid})
		return
	}
	a := &answer{stream: s.number, packs: s.query.Kind != wire.QueryContent, out: s.out, credit: s.credit, clock: o.Clock, life: s.life, work: work,
		sealer: sealer, mostList: s.answers.listing, waits: make(chan struct{}, 1)}
	t := &task{stream: s, answer: a, ctx: work}
	if err = s.begin(opening); err == nil {
		go a.flushInTime()
		err = t.do(busy)
		if unsent := a.complete(); err == nil {
			err = unsent
		}
	}
	end := endOf(err)
	s.tell(began, t.asked, end, a.sent)
	if s.life.Err() != nil && !errors.Is(context.Cause(s.life), errMisused) {
		return
	}
	s.goodbye(a, end)
}

// working is the time in which the answer is made: until the query is no longer valid, or the agent stops, or nobody listens.
func (s *stream) working() (context.Context, context.CancelFunc) {
	work, cancel := context.WithCancelCause(s.life)
	timer := s.answers.o.Clock.NewTimer(s.query.NotAfter.Sub(s.answers.o.Clock.Now()))
	go func() {
		defer timer.Stop()
		select {
		case <-timer.C():
			cancel(errExpired)
		case <-s.answers.ctx.Done():
			cancel(errStopped)
		case <-work.Done():
		}
	}()
	return work, func() { cancel(nil) }
}

// begin sends the opening, for which a stream always has credit.
func (s *stream) begin(opening []byte) error {
	frame := wire.EncodeData(s.number, opening)
	s.credit.spend(int64(len(frame)))
	return s.out.Data(s.life, frame)
}

// goodbye ends an answer that somebody may still be listening to.
func (s *stream) goodbye(a *answer, end wire.AnswerEnd) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.life), goodbyePatience)
	defer cancel()
	if s.life.Err() == nil {
		if err := a.end(ctx, end); err != nil {
			s.answers.o.Logger.Debug("the end of an answer cannot be sent", "uid", s.query.UID, "error", err)
		}
	}
	if err := s.out.Finish(ctx, &wire.StreamClose{Stream: s.number}); err != nil {
		s.answers.o.Logger.Debug("the end of a stream cannot be sent", "uid", s.query.UID, "error", err)
	}
}

// tell writes the line by which the machine's owner knows who asked for what.
func (s *stream) tell(began time.Time, asked []any, end wire.AnswerEnd, sent int64) {
	o := &s.answers.o
	attributes := append([]any{"kind", s.query.Kind, "hostQuery", s.query.Name, "uid", s.query.UID}, asked...)
	attributes = append(attributes, "began", began.UTC().Format(time.RFC3339), "bytes", sent)
	switch cause := context.Cause(s.life); {
	case cause != nil:
		attributes = append(attributes, "end", cause.Error())
	case end.Reason != "":
		attributes = append(attributes, "end", end.Reason, "message", end.Message)
	default:
		attributes = append(attributes, "end", "complete")
	}
	o.Logger.Log(context.Background(), slog.LevelInfo, "a query was answered", attributes...)
}

// task is the work on one answer.
type task struct {
	*stream
	answer *answer
	ctx    context.Context
	// asked is what the query asked for, for the machine's log.
	asked []any
}

// do decides whether the query is answered, and answers it. nil is a complete answer.
func (t *task) do(busy bool) error {
	p, err := seal.OpenParameters(t.query, t.answers.o.SealingKey)
	if err != nil {
		return &refusal{wire.AnswerInvalid, err.Error()}
	}
	t.asked = asked(p)
	switch kind := t.query.Kind; {
	case busy:
		return &refusal{wire.AnswerBusy, fmt.Sprintf("the machine answers %d queries already: ask again when one of them has ended", wire.MaxStreams)}
	case needsConsent(kind) && !t.answers.o.AllowContent:
		return &refusal{wire.AnswerNotAllowed, "this machine does not allow queries about the content of snapshots; its owner can, with queries: allow " +
			"in the section allow of agent.yaml, and a restart of the agent"}
	case kind == wire.QueryLog:
		return t.log(orZero(p.Log))
	case kind == wire.QuerySnapshots:
		return t.snapshots(orZero(p.Snapshots))
	case kind == wire.QueryFiles:
		return t.files(p.Files)
	case kind == wire.QueryFind:
		return t.find(p.Find)
	case kind == wire.QueryDiff:
		return t.diff(p.Diff)
	case kind == wire.QueryContent:
		return t.content(p.Content)
	case kind == wire.QueryDiagnosis:
		return t.diagnosis()
	}
	return &refusal{wire.AnswerInvalid, fmt.Sprintf("this version of the agent does not answer queries of kind %s; upgrade it", t.query.Kind)}
}

// needsConsent tells which kinds name files.
func needsConsent(kind wire.QueryKind) bool {
	switch kind {
	case wire.QueryLog, wire.QuerySnapshots, wire.QueryDiagnosis:
		return false
	}
	return true
}

// asked names what a query asks for.
func asked(p wire.QueryParameters) []any {
	switch {
	case p.Log != nil:
		return []any{"job", p.Log.JobID, "group", p.Log.Group, "follow", p.Log.Follow}
	case p.Files != nil:
		return []any{"snapshot", p.Files.Snapshot, "path", p.Files.Path}
	case p.Find != nil:
		return []any{"snapshot", p.Find.Snapshot, "pattern", p.Find.Pattern}
	case p.Diff != nil:
		return []any{"from", p.Diff.From, "to", p.Diff.To}
	case p.Content != nil:
		return []any{"snapshot", p.Content.Snapshot, "path", p.Content.Path, "tar", p.Content.Tar}
	}
	return nil
}

func orZero[T any](p *T) *T {
	if p == nil {
		return new(T)
	}
	return p
}
