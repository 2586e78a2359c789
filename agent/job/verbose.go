package job

import "sync"

// talkative are the wishes for a line per file in the log. Its zero value is ready.
type talkative struct {
	mu     sync.Mutex
	wishes map[*wish]struct{}
}

// wish is for one job, or for the backups of a group, or for all.
type wish struct{ jobID, group string }

func (w *wish) covers(t *task) bool {
	if w.jobID != "" {
		return w.jobID == t.job.Ref.JobID
	}
	return w.group == "" || w.group == t.job.Ref.SourceGroup
}

// Verbose has backups that begin from now on print a line per file, until release: the one of this id, or else all of the group, or else all. Of one that
// runs already the lines do not come: restic is told at its start.
func (m *Manager) Verbose(jobID, group string) (release func()) {
	w := &wish{jobID, group}
	m.talkative.mu.Lock()
	defer m.talkative.mu.Unlock()
	if m.talkative.wishes == nil {
		m.talkative.wishes = map[*wish]struct{}{}
	}
	m.talkative.wishes[w] = struct{}{}
	return func() {
		m.talkative.mu.Lock()
		defer m.talkative.mu.Unlock()
		delete(m.talkative.wishes, w)
	}
}

// verbose decides it for a backup that is about to start.
func (m *Manager) verbose(t *task) bool {
	wanted := false
	m.talkative.mu.Lock()
	for w := range m.talkative.wishes {
		wanted = wanted || w.covers(t)
	}
	m.talkative.mu.Unlock()
	m.mu.Lock()
	defer m.mu.Unlock()
	t.quiet = !wanted
	return wanted
}
