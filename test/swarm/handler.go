package swarm

import (
	"errors"

	"github.com/restic-manager/restic-manager/agent/desired"
	"github.com/restic-manager/restic-manager/agent/restic"
	"github.com/restic-manager/restic-manager/agent/session"
	"github.com/restic-manager/restic-manager/api/wire"
)

// handler is the Agent as the handler of its session: what the composition root does in a real one.
type handler Agent

func (h *handler) agent() *Agent { return (*Agent)(h) }

// Connected implements session.Handler.
func (h *handler) Connected(w wire.Welcome) {
	a, counts := h.agent(), &h.fleet.counts
	counts.sessions.Add(1)
	a.mu.Lock()
	if a.welcomed {
		counts.reconnects.Add(1)
	}
	a.welcomed, a.trouble, a.gateway = true, "", w.Gateway
	clear(a.retold)
	a.mu.Unlock()
	a.delivery.SessionOpened()
	a.tellConsent()
	a.jobs.announce()
	a.fires.SessionOpened()
	a.look()
	a.fleet.news.tell()
}

// Disconnected implements session.Handler.
func (h *handler) Disconnected() {
	a := h.agent()
	a.delivery.SessionClosed()
	a.fires.SessionClosed()
	a.fleet.news.tell()
}

// SetOffered implements session.Handler.
func (h *handler) SetOffered(offer *wire.SetOffer) {
	a, counts := h.agent(), &h.fleet.counts
	before := a.desired.Current()
	ack := a.desired.Offer(*offer)
	counts.setsOffered.Add(1)
	if ack.Applied {
		counts.setsApplied.Add(1)
	} else {
		counts.setsRefused.Add(1)
	}
	_ = a.session.Send(&ack) // a lost one is made up for by the next hello
	set := a.desired.Current()
	if set == before {
		return
	}
	counts.setsChanged.Add(1)
	if set.Tombstone {
		counts.tombstones.Add(1)
	}
	if a.cron != nil {
		if err := a.cron.Update(set); err != nil {
			a.logger.Error("a part of the set cannot be scheduled", "error", err)
		}
	}
	a.look()
	a.fleet.news.tell()
}

// tellConsent acknowledges the set in force again at the first connect with one, as a real agent does after its start.
func (a *Agent) tellConsent() {
	set := a.Set()
	a.mu.Lock()
	due := set != nil && !a.consentTold
	a.consentTold = a.consentTold || due
	a.mu.Unlock()
	if due && a.session.Send(&wire.SetAck{Revision: set.Revision, Applied: true, Serial: set.Serial}) != nil {
		a.mu.Lock()
		a.consentTold = false
		a.mu.Unlock()
	}
}

// VerdictGiven implements session.Handler.
func (h *handler) VerdictGiven(v *wire.Verdict) {
	if v.Admit {
		h.fleet.counts.admitted.Add(1)
	} else {
		h.fleet.counts.refused.Add(1)
	}
	h.fires.Verdict(v)
	h.fleet.news.tell()
}

// CommandGiven implements session.Handler.
func (h *handler) CommandGiven(m *wire.CommandRun) {
	a, counts := h.agent(), &h.fleet.counts
	counts.commands.Add(1)
	if a.jobs.known(m.JobID) {
		counts.commandsRepeated.Add(1)
		a.answerAgain(m.JobID)
		return
	}
	command, err := a.desired.VerifyCommand(*m)
	if err != nil {
		counts.commandsRefused.Add(1)
		ack := wire.CommandAck{JobID: m.JobID, Reason: wire.RefusalInvalid, Message: wire.Cut(err.Error(), wire.MaxString)}
		if refusal := (*desired.Refusal)(nil); errors.As(err, &refusal) {
			ack.Reason = refusal.Reason
		}
		_ = a.session.Send(&ack) // the gateway brings the command again in the next session
		return
	}
	job := Job{Agent: a, Command: command.JobCommand, Group: command.Backup,
		Ref: wire.JobRef{JobID: m.JobID, Kind: command.Kind, HostJob: command.Name, HostJobUID: command.UID, TargetHost: command.TargetHost}}
	if command.Backup != nil {
		job.Ref.SourceGroup = command.Backup.Name
	}
	a.jobs.submit(job)
	_ = a.session.Send(&wire.CommandAck{JobID: m.JobID, Accepted: true})
}

// answerAgain answers a command that came before: its job is never run again, and its result is told again once per session.
func (a *Agent) answerAgain(jobID string) {
	ack := wire.CommandAck{JobID: jobID, Accepted: true}
	finished := a.jobs.result(jobID)
	if finished != nil {
		ack = wire.CommandAck{JobID: jobID, Reason: wire.RefusalAlreadyRun, Message: "the command was run before; its result is sent again"}
	}
	_ = a.session.Send(&ack)
	a.mu.Lock()
	again := a.retold[jobID]
	if a.retold == nil {
		a.retold = map[string]bool{}
	}
	a.retold[jobID] = true
	a.mu.Unlock()
	if again {
		return
	}
	if finished != nil {
		a.Report(new(*finished))
	} else {
		a.jobs.announce()
	}
}

// CancelGiven implements session.Handler.
func (h *handler) CancelGiven(m *wire.CommandCancel) {
	h.fleet.counts.cancels.Add(1)
	cancel, err := h.desired.VerifyCancel(*m)
	if err != nil {
		h.logger.Error("a cancellation was refused", "job", m.JobID, "error", err)
		return
	}
	h.agent().jobs.cancel(wire.CommandID(cancel.UID))
}

// WentBack implements session.Handler.
func (h *handler) WentBack() error { return h.box.NewEpoch() }

// ReportAcked implements session.Handler.
func (h *handler) ReportAcked(m *wire.ReportAck) {
	h.fleet.counts.acks.Add(1)
	if m.Discarded {
		h.fleet.counts.reportsDiscarded.Add(1)
	}
	h.delivery.Acked(m)
	h.fleet.news.tell()
}

// StreamOpened implements session.Handler: these machines answer no queries.
func (h *handler) StreamOpened(m *wire.StreamOpen, out session.Stream) {
	out.Refuse(&wire.StreamClose{Stream: m.Stream, Reason: wire.RefusalInvalid})
}

// StreamCredited implements session.Handler.
func (h *handler) StreamCredited(*wire.StreamCredit) {}

// StreamClosed implements session.Handler.
func (h *handler) StreamClosed(*wire.StreamClose) {}

// look asks the Behaviour for the state of the repository, when another one came or it was not seen ready, and reports what changed.
func (a *Agent) look() {
	set := a.Set()
	if set == nil || set.Tombstone {
		return
	}
	url := restic.RedactURL(set.Repository.URL)
	a.mu.Lock()
	known := a.toldURL == url && a.told == wire.RepositoryReady
	a.mu.Unlock()
	if known {
		return
	}
	state := a.fleet.o.Behaviour.Repository(a)
	state.URL, state.Time = url, a.fleet.o.Clock.Now().UTC()
	a.mu.Lock()
	same := a.toldURL == url && a.told == state.State
	a.told, a.toldURL = state.State, url
	a.mu.Unlock()
	if !same {
		a.Report(&state)
	}
}
