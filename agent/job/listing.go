package job

import (
	"github.com/restic-manager/restic-manager/agent/restic"
	"github.com/restic-manager/restic-manager/api/wire"
)

// own is the machine's part of the repository of a job; false when the job is about another one.
func (m *Manager) own(j *Job) (Own, bool) {
	if m.options.Own == nil {
		return Own{}, false
	}
	own, ok := m.options.Own()
	return own, ok && queueKey(own.Repository) == queueKey(j.Repository)
}

// countStats adds the snapshot of a backup to what is known. Nothing is run for it.
func (m *Manager) countStats(x *execution) {
	backup := x.result.Backup
	if backup == nil || backup.SnapshotID == "" {
		return
	}
	if own, ok := m.own(x.job); ok && own.ResticHost == x.job.ResticHost {
		x.result.Stats = m.stats.count(own, x.job.Backup.Name, backup.BytesProcessed, x.resticBegan, m.now())
	}
}

// listAfter has the snapshots listed when a job may have changed them in a way that cannot be counted, or when the last listing is old.
func (m *Manager) listAfter(j *Job, r *result) {
	own, ok := m.own(j)
	if !ok || !worked(r) {
		return
	}
	switch j.Ref.Kind {
	case wire.JobForget, wire.JobUnlock, wire.JobInit:
		m.stats.want(own, false)
	case wire.JobPrune, wire.JobCheck:
		m.stats.want(own, true)
	case wire.JobBackup:
	default:
		return
	}
	if list, _ := m.stats.due(own, m.now()); list {
		m.enqueueListing(own)
	}
}

// worked tells whether a job did something to the repository.
func worked(r *result) bool {
	return r.Outcome == wire.OutcomeSucceeded || r.Outcome == wire.OutcomeCompletedWithErrors || r.Forget != nil && r.Forget.Removed > 0
}

// listFirst has the snapshots listed when nothing is known of them.
func (m *Manager) listFirst(j *Job) {
	if own, ok := m.own(j); ok && m.stats.unknown(own) {
		m.enqueueListing(own)
	}
}

func (m *Manager) enqueueListing(own Own) {
	m.enqueue(&task{kind: aListing, job: Job{Ref: wire.JobRef{JobID: "listing"}, ResticHost: own.ResticHost, Repository: own.Repository, Bandwidth: own.Bandwidth,
		Credential: own.Credential, Opened: own.Opened}})
}

// listSnapshots is the turn of a listing. One that fails stays due until after the next job.
func (m *Manager) listSnapshots(t *task) {
	defer t.cancel(nil)
	own, ok := m.own(&t.job) // the groups may be others by now
	if !ok {
		return
	}
	_, measure := m.stats.due(own, m.now())
	fresh, measured, err := m.listing(t, own, measure)
	if err != nil {
		if t.ctx.Err() == nil {
			m.options.Logger.Warn("the snapshots cannot be listed; it is tried again after the next job", "error", err)
		}
		return
	}
	fresh = m.stats.listed(own, fresh, measured)
	m.options.Observer.RepoStats(wire.RepoStats{Stats: fresh, URL: cutText(restic.RedactURL(own.Repository.URL))})
}

func (m *Manager) listing(t *task, own Own, measure bool) (fresh wire.RepositoryStats, measured bool, err error) {
	r, err := m.newRunner(t.ctx, &t.job)
	if err != nil {
		return fresh, false, err
	}
	repository, err := m.repository(&t.job)
	if err != nil {
		return fresh, false, err
	}
	watch := probeWatch{m.view(&t.job)}
	snapshots, err := r.patient.Snapshots(t.ctx, repository, restic.SnapshotFilter{Host: own.ResticHost}, watch)
	if !m.waits(&t.job, wire.ReasonLocked) { // a listing takes no lock, and so sees none
		watch.view.ended(err, err == nil, m.waits(&t.job, ""))
	}
	if err != nil {
		return fresh, false, err
	}
	t.job.opened()
	fresh = summarise(snapshots, own.Groups, m.now())
	if !measure {
		return fresh, false, nil
	}
	raw, err := r.patient.Stats(t.ctx, repository, m.limits(&t.job), watch)
	if err != nil {
		if t.ctx.Err() == nil {
			m.options.Logger.Warn("the size of the repository cannot be measured; it is tried again after the next job", "error", err)
		}
		return fresh, false, nil
	}
	fresh.RawBytes, fresh.RawTime = count(raw), m.now()
	return fresh, true, nil
}
