package job

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/restic-manager/restic-manager/agent/clock"
	"github.com/restic-manager/restic-manager/agent/restic"
	"github.com/restic-manager/restic-manager/api/wire"
)

// calm is how long a repository counts as Ready after a recovery before a first failed attempt is news again: several connections of one restic
// fail and recover one after the other.
const calm = 5 * time.Second

// repositories knows the last state of each repository and tells changes.
type repositories struct {
	observer Observer
	clock    clock.Clock

	mu   sync.Mutex
	last map[string]*repository
}

type repository struct {
	wire.RepoState
	recovered time.Time
}

func newRepositories(observer Observer, c clock.Clock) *repositories {
	return &repositories{observer: observer, clock: c, last: make(map[string]*repository)}
}

func (s *repositories) set(url string, state wire.RepositoryState, reason wire.Reason, message string) {
	s.mu.Lock()
	now := s.clock.Now().Round(0).UTC()
	old := s.last[url]
	if old == nil {
		old = &repository{}
		s.last[url] = old
	}
	same := old.State == state && old.Reason == reason
	noisy := state == wire.RepositoryRetrying && old.State == wire.RepositoryReady && now.Sub(old.recovered) < calm && !now.Before(old.recovered)
	if same || noisy {
		s.mu.Unlock()
		return
	}
	if state == wire.RepositoryReady && old.State == wire.RepositoryRetrying {
		old.recovered = now
	}
	old.RepoState = wire.RepoState{State: state, Reason: reason, Message: cutText(message), URL: cutText(restic.RedactURL(url)), Time: now}
	news := old.RepoState
	s.mu.Unlock()
	s.observer.RepoState(news)
}

// forget makes the next state of a repository news.
func (s *repositories) forget(url string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.last, url)
}

func (s *repositories) state(url string) (wire.RepoState, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.last[url]; r != nil {
		return r.RepoState, true
	}
	return wire.RepoState{}, false
}

// retry follows a run that waits for the repository.
func (s *repositories) retry(url string, r restic.Retry) {
	if !r.Recovered {
		s.set(url, wire.RepositoryRetrying, reasonOf(r.Kind), "restic tries again: "+orElse(r.Reason, string(r.Kind)))
		return
	}
	if now, known := s.state(url); known && now.State == wire.RepositoryRetrying {
		s.set(url, wire.RepositoryReady, "", "")
	}
}

// ended follows the end of a run. opened says that the run cannot have got so far without the repository.
func (s *repositories) ended(url string, err error, opened bool) {
	var prepared *preparation
	switch {
	case opened:
		s.set(url, wire.RepositoryReady, "", "")
		return
	case errors.As(err, &prepared):
		if prepared.reason == wire.ReasonNoCredential {
			s.set(url, wire.RepositoryFailed, prepared.reason, prepared.message)
		}
		return
	}
	switch kind := restic.KindOf(err); kind {
	case restic.KindNoRepository, restic.KindHalfInitialised, restic.KindLocked, restic.KindWrongPassword, restic.KindUnauthorized, restic.KindUnreachable, restic.KindTLS:
		s.set(url, wire.RepositoryFailed, reasonOf(kind), messageOf(err))
	default:
		// A run that was ended while it waited leaves nobody who tries.
		if now, known := s.state(url); known && now.State == wire.RepositoryRetrying {
			s.set(url, wire.RepositoryFailed, now.Reason, now.Message)
		}
	}
}

// messageOf is the sentence of an error of agent/restic without the subcommand.
func messageOf(err error) string {
	var failure *restic.Error
	if errors.As(err, &failure) && failure.Message != "" {
		return failure.Message
	}
	return err.Error()
}

// repositoryOpened tells whether the outcome proves that the repository works.
func repositoryOpened(j *Job, r *result, err error) bool {
	if err == nil {
		return true
	}
	switch restic.KindOf(err) {
	case restic.KindNoSuchSnapshot, restic.KindNothingRestored:
		return true
	}
	return r.Backup != nil && r.Backup.SnapshotID != ""
}

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
	j.Backup, j.Restore, j.Offline = nil, nil, false
	m.enqueue(&task{job: j, ensure: true, ensured: n})
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
	url := t.job.Repository.URL
	state, err := m.probe(t)
	var prepared *preparation
	switch {
	case t.ctx.Err() != nil:
	case errors.As(err, &prepared):
		m.states.set(url, wire.RepositoryFailed, prepared.reason, prepared.message)
		m.ensureAgain(t)
	case err != nil:
		m.states.set(url, wire.RepositoryFailed, reasonOf(restic.KindOf(err)), messageOf(err))
		m.ensureAgain(t)
	case state == restic.StateExists:
		m.states.set(url, wire.RepositoryReady, "", "")
	case m.Known(t.job.Ref.JobID):
		m.states.set(url, wire.RepositoryFailed, wire.ReasonNoRepository, m.whyNoInit(t.job.Ref.JobID))
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
	return r.Probe(t.ctx, repository, probeWatch{m, t.job.Repository.URL})
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
		m.states.set(t.job.Repository.URL, wire.RepositoryFailed, wire.ReasonNoRepository, fmt.Sprintf("There is no repository, and the agent cannot make it: %v.", err))
		return
	}
	m.mu.Lock()
	t.record = r
	m.tasks[r.Job.JobID] = t
	m.mu.Unlock()
	m.run(t)
}

// probeWatch hears a probe, which is no job and has no log.
type probeWatch struct {
	manager *Manager
	url     string
}

func (p probeWatch) Progress(restic.Progress) {}
func (p probeWatch) Line(restic.Line)         {}
func (p probeWatch) Retrying(r restic.Retry)  { p.manager.states.retry(p.url, r) }
