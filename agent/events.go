package agent

import (
	"github.com/restic-manager/restic-manager/agent/session"
	"github.com/restic-manager/restic-manager/api/wire"
)

// events is the Agent as the handler of its session.
type events Agent

func (e *events) agent() *Agent { return (*Agent)(e) }

// Connected implements session.Handler.
func (e *events) Connected(wire.Welcome) {
	a := e.agent()
	a.reports.SessionOpened()
	a.retold.reset()
	a.tellConsent()
	a.jobs.Announce()
	a.fires.SessionOpened()
	a.repository.look()
	a.status.update(func(s *Status) { s.Connected, s.Since = true, a.o.Clock.Now().UTC() })
}

// Disconnected implements session.Handler.
func (e *events) Disconnected() {
	a := e.agent()
	a.reports.SessionClosed()
	a.fires.SessionClosed()
	a.queries.SessionEnded()
	a.status.update(func(s *Status) { s.Connected, s.Since = false, a.o.Clock.Now().UTC() })
}

// SetOffered implements session.Handler.
func (e *events) SetOffered(offer *wire.SetOffer) { e.agent().judgeSet(offer) }

// VerdictGiven implements session.Handler.
func (e *events) VerdictGiven(v *wire.Verdict) { e.agent().fires.Verdict(v) }

// CommandGiven implements session.Handler.
func (e *events) CommandGiven(m *wire.CommandRun) { e.agent().command(m) }

// CancelGiven implements session.Handler.
func (e *events) CancelGiven(m *wire.CommandCancel) { e.agent().cancel(m) }

// WentBack implements session.Handler.
func (e *events) WentBack() error { return e.agent().outbox.NewEpoch() }

// ReportAcked implements session.Handler.
func (e *events) ReportAcked(m *wire.ReportAck) { e.agent().reports.Acked(m) }

// StreamOpened implements session.Handler.
func (e *events) StreamOpened(m *wire.StreamOpen, out session.Stream) { e.agent().queries.Open(m, out) }

// StreamCredited implements session.Handler.
func (e *events) StreamCredited(m *wire.StreamCredit) { e.agent().queries.Credit(m) }

// StreamClosed implements session.Handler.
func (e *events) StreamClosed(m *wire.StreamClose) { e.agent().queries.Close(m) }
