package report

import (
	"context"
	"slices"
	"time"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	corev1 "k8s.io/api/core/v1"
)

// elsewhere tells whether a job was on the repository of another Host: what became of it says nothing of the machine's own.
func elsewhere(h *v1alpha1.Host, job *wire.JobRef) bool {
	return job.TargetHost != "" && job.TargetHost != h.Name
}

// noteInit takes the result of an initialisation as what is known of the repository.
func noteInit(h *v1alpha1.Host, m *wire.JobFinished, received time.Time) {
	state := wire.RepositoryReady
	if m.Outcome != wire.OutcomeSucceeded {
		state = wire.RepositoryFailed
	}
	url := ""
	if h.Status.Repository != nil {
		url = h.Status.Repository.URL
	}
	noteRepository(h, &wire.RepoState{State: state, Reason: m.Reason, Message: m.Message, URL: url, Time: m.FinishedAt}, received)
}

// noteRepository replaces the state. What else is known stays, unless it is known of another repository. That the repository could be opened does not
// mean that no lock is in it: only a job that got through does, see noteLock.
func noteRepository(h *v1alpha1.Host, m *wire.RepoState, received time.Time) {
	at := clamp(m.Time, received)
	if at == nil {
		at = clamp(received, received)
	}
	r := &v1alpha1.RepositoryStatus{State: string(m.State), Reason: string(m.Reason), Message: cut(m.Message, maxMessage), URL: m.URL, Time: *at}
	if m.State == wire.RepositoryReady {
		r.Reason, r.Message = "", ""
	}
	if old := h.Status.Repository; old != nil && sameURL(old.URL, m.URL) {
		r.LockPresent, r.Stats = old.LockPresent, old.Stats
	}
	if locked(m) {
		r.LockPresent = true
	}
	h.Status.Repository = r
}

// sameURL: an initialisation that was reported before any state is of an URL that is not known.
func sameURL(a, b string) bool { return a == b || a == "" || b == "" }

// sameRepository tells whether a state is on record already.
func sameRepository(old *v1alpha1.RepositoryStatus, m *wire.RepoState) bool {
	return old != nil && old.State == string(m.State) && old.URL == m.URL && (m.State == wire.RepositoryReady || old.Reason == string(m.Reason))
}

// repoState stores the repository's state. Retrying is no Event: it comes and goes with the network; and no state is one that is on record already,
// since each start of an agent tells it again.
func (w *Writer) repoState(ctx context.Context, s Session, m *wire.RepoState, received time.Time) error {
	h, err := w.liveHost(ctx, s.Host, m.Report)
	if err != nil {
		return err
	}
	e := event{host: s.Host, hostUID: string(h.UID), action: "OpenRepository", id: m.Report.String()}
	switch {
	case m.State == wire.RepositoryReady:
		e.kind, e.reason, e.note = corev1.EventTypeNormal, v1alpha1.EventRepositoryReady, "The machine opened its repository "+m.URL+"."
	case locked(m):
		if lockKnown(h, m.URL) {
			break
		}
		e = lockEvent(h, m.Report, m.URL, m.Message)
	case m.State == wire.RepositoryFailed:
		e.kind, e.reason = corev1.EventTypeWarning, v1alpha1.EventRepositoryFailed
		e.note = "The machine cannot use its repository " + m.URL + " (" + string(m.Reason) + "): " + m.Message
	}
	if e.reason != "" && !sameRepository(h.Status.Repository, m) {
		if err := w.emit(ctx, e); err != nil {
			return err
		}
	}
	return w.changeHost(ctx, h, m.Report, func(h *v1alpha1.Host) { noteRepository(h, m, received) })
}

// locked tells whether a state is that of a repository in which somebody else's lock is.
func locked(m *wire.RepoState) bool {
	return m.Reason == wire.ReasonLocked && m.State != wire.RepositoryReady
}

// lockKnown tells whether people were told of a lock that nothing has got past since.
func lockKnown(h *v1alpha1.Host, url string) bool {
	r := h.Status.Repository
	return r != nil && r.LockPresent && sameURL(r.URL, url)
}

func lockEvent(h *v1alpha1.Host, id wire.ReportID, url, message string) event {
	note := "Somebody else's lock is in the repository"
	if url != "" {
		note += " " + url
	}
	return event{host: wire.HostRef{Namespace: h.Namespace, Name: h.Name}, hostUID: string(h.UID), kind: corev1.EventTypeWarning,
		reason: v1alpha1.EventRepositoryLocked, action: "OpenRepository", id: id.String(),
		note: note + ". Stale locks are removed and jobs tried again; a live one is waited for. " + message}
}

// lockedOut tells whether a job failed on a lock.
func lockedOut(m *wire.JobFinished) bool {
	return m.Reason == wire.ReasonLocked && m.Outcome != wire.OutcomeCancelled && m.Outcome != wire.OutcomeSucceeded
}

// gotThrough tells whether a job had the repository for itself as far as it needed it. An initialisation looks at it without a lock.
func gotThrough(m *wire.JobFinished) bool {
	return m.Job.Kind != wire.JobInit && (m.Outcome == wire.OutcomeSucceeded || m.Outcome == wire.OutcomeCompletedWithErrors)
}

// noteLock follows what a job met on the host's own repository.
func noteLock(h *v1alpha1.Host, m *wire.JobFinished, received time.Time) {
	r := h.Status.Repository
	switch {
	case lockedOut(m) && r == nil:
		noteRepository(h, &wire.RepoState{State: wire.RepositoryFailed, Reason: m.Reason, Message: m.Message, Time: m.FinishedAt}, received)
	case lockedOut(m):
		r.LockPresent = true
	case r != nil && gotThrough(m):
		r.LockPresent = false
		if r.Reason == string(wire.ReasonLocked) {
			noteRepository(h, &wire.RepoState{State: wire.RepositoryReady, URL: r.URL, Time: m.FinishedAt}, received)
		}
	}
}

// repoStats stores a listing of the snapshots. One of a repository that is not the host's any more is let go.
func (w *Writer) repoStats(ctx context.Context, s Session, m *wire.RepoStats, received time.Time) error {
	h, err := w.liveHost(ctx, s.Host, m.Report)
	if err != nil {
		return err
	}
	return w.changeHost(ctx, h, m.Report, func(h *v1alpha1.Host) {
		r := h.Status.Repository
		switch {
		case r == nil: // what was listed was opened
			noteRepository(h, &wire.RepoState{State: wire.RepositoryReady, URL: m.URL, Time: m.Stats.Time}, received)
		case !sameURL(r.URL, m.URL):
			return
		}
		noteStats(h, &m.Stats, received)
	})
}

// noteStats takes over what a machine knows of its snapshots. Without the time of a listing it would know nothing.
func noteStats(h *v1alpha1.Host, s *wire.RepositoryStats, received time.Time) {
	if s == nil || h.Status.Repository == nil {
		return
	}
	at, listed := clamp(s.Time, received), clamp(s.ListedTime, received)
	if at == nil || listed == nil {
		return
	}
	stats := &v1alpha1.RepositoryStats{
		Time: *at, ListedTime: *listed, Snapshots: s.Snapshots, RestoreBytes: s.RestoreBytes, RawBytes: s.RawBytes, RawTime: clamp(s.RawTime, received),
		FutureSnapshots: s.FutureSnapshots,
	}
	for _, g := range s.Groups {
		if len(stats.Groups) >= maxResults {
			break
		}
		if slices.ContainsFunc(stats.Groups, func(o v1alpha1.GroupStats) bool { return o.Name == g.Name }) {
			continue
		}
		stats.Groups = append(stats.Groups, v1alpha1.GroupStats{
			Name: g.Name, Snapshots: g.Snapshots, RestoreBytes: g.RestoreBytes, Oldest: clamp(g.Oldest, received), Newest: clamp(g.Newest, received),
		})
	}
	h.Status.Repository.Stats = stats
}
