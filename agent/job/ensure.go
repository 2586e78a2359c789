package job

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/restic-manager/restic-manager/agent/restic"
	"github.com/restic-manager/restic-manager/api/wire"
)

// InitID is the id of the automatic init of a repository: there is one for each URL, ever.
func InitID(url string) string {
	sum := sha256.Sum256([]byte("restic-manager/init/v1\n" + url))
	return "init-" + hex.EncodeToString(sum[:12])
}

// lookAgain is how soon a repository that could not be opened is looked at again.
const lookAgain = 5 * time.Minute

// Ensure looks whether the repository of j exists and opens, reports its state, and makes it when there is none, as a job of kind Init with the id
// InitID(url). That happens once: a repository that was made, or could not be made, is never made anew without a person asking. A
// repository that does not open is looked at again every five minutes, until Ensure is called for another one. The state that is found is
// told even when it is the last one that was told: other repositories may have been told of meanwhile. j.Ref is not used. Ensure returns at
// once; a look at the same repository that waits already is enough.
func (m *Manager) Ensure(j Job) {
	m.states.forget(j.Repository.URL)
	m.mu.Lock()
	m.ensured++
	n := m.ensured
	m.mu.Unlock()
	m.ensure(j, n)
}

func (m *Manager) ensure(j Job, n int) {
	j.Ref = wire.JobRef{JobID: InitID(j.Repository.URL), Kind: wire.JobInit}
	j.Backup, j.Restore, j.Forget, j.Prune, j.Check, j.Verify, j.Hooks, j.Offline = nil, nil, nil, nil, nil, nil, nil, false
	m.enqueue(&task{job: j, kind: aLook, ensured: n})
}

// ensureAgain looks again later, unless Ensure was called meanwhile.
func (m *Manager) ensureAgain(t *task) {
	m.background(func() {
		if !m.sleep(lookAgain) {
			return
		}
		m.mu.Lock()
		newest := t.ensured == m.ensured
		m.mu.Unlock()
		if newest {
			m.ensure(t.job, t.ensured)
		}
	})
}

// look is the turn of an Ensure.
func (m *Manager) look(t *task) {
	defer t.cancel(nil)
	view := m.view(&t.job)
	state, err := m.probe(t)
	var prepared *preparation
	switch {
	case t.ctx.Err() != nil:
	case errors.As(err, &prepared):
		view.set(wire.RepositoryFailed, prepared.reason, prepared.message)
		m.ensureAgain(t)
	case err != nil:
		view.set(wire.RepositoryFailed, reasonOf(restic.KindOf(err)), messageOf(err))
		m.ensureAgain(t)
	case state == restic.StateExists:
		t.job.opened()
		if !m.waits(&t.job, wire.ReasonLocked) { // a look takes no lock, and so sees none
			view.set(wire.RepositoryReady, "", "")
		}
		m.listFirst(&t.job)
	case m.Known(t.job.Ref.JobID):
		view.set(wire.RepositoryFailed, wire.ReasonNoRepository, m.whyNoInit(t.job.Ref.JobID))
	default:
		m.initialise(t)
	}
}

func (m *Manager) probe(t *task) (restic.State, error) {
	r, err := m.newRunner(t.ctx, &t.job)
	if err != nil {
		return "", &preparation{wire.ReasonResticMissing, err.Error()}
	}
	repository, err := m.repository(&t.job)
	if err != nil {
		return "", err
	}
	return r.patient.Probe(t.ctx, repository, probeWatch{m.view(&t.job)})
}

func (m *Manager) whyNoInit(id string) string {
	if _, result, err := m.State(id); err == nil && result != nil && result.Outcome != wire.OutcomeSucceeded {
		return fmt.Sprintf("There is no repository, and making it failed on %s: %s Then create a HostJob of kind Init.", result.FinishedAt.UTC().Format(time.DateOnly), result.Message)
	}
	return "The repository was made before, and is gone: bring it back, or create a HostJob of kind Init to begin with an empty one."
}

// initialise turns a look into a job.
func (m *Manager) initialise(t *task) {
	r := &record{Job: t.job.Ref, URL: restic.RedactURL(t.job.Repository.URL), AcceptedAt: m.now(), Forever: true}
	if err := m.ledger.accept(r); err != nil {
		m.options.Logger.Error("the repository is not made, since that cannot be remembered", "error", err)
		m.view(&t.job).set(wire.RepositoryFailed, wire.ReasonNoRepository, fmt.Sprintf("There is no repository, and the agent cannot make it: %v.", err))
		return
	}
	m.mu.Lock()
	t.record = r
	m.tasks[r.Job.JobID] = t
	m.mu.Unlock()
	m.run(t)
}

// probeWatch hears a probe or a listing, which are no jobs and have no logs.
type probeWatch struct{ view view }

func (p probeWatch) Progress(restic.Progress) {}
func (p probeWatch) Line(restic.Line)         {}
func (p probeWatch) Retrying(r restic.Retry)  { p.view.retry(r) }
