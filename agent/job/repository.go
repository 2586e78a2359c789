package job

import (
	"errors"
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
	if old.State == state && old.Reason == reason {
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

// calm tells whether a repository recovered a moment ago.
func (s *repositories) calm(url string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.last[url]
	if r == nil || r.State != wire.RepositoryReady {
		return false
	}
	since := s.clock.Now().Round(0).Sub(r.recovered)
	return since >= 0 && since < calm
}

// view is what a job can say about the machine's own repository.
type view struct {
	states *repositories
	url    string
	// partial: the job goes another way there, with other credentials, or it is about another host's repository, which may be the same. Then only what it
	// says about locks counts: a refused admin is no fault of the machine's own access, and an admin who gets in proves nothing for it.
	partial bool
}

func (m *Manager) view(j *Job) view {
	r := j.Repository
	return view{states: m.states, url: orElse(r.SameAs, r.URL),
		partial: j.TargetHost != "" || r.SameAs != "" || r.Credential == wire.CredentialAdmin || r.Credential == wire.CredentialTarget}
}

func (v view) set(state wire.RepositoryState, reason wire.Reason, message string) {
	if v.partial {
		now, known := v.states.state(v.url)
		wasLocked := known && now.Reason == wire.ReasonLocked
		isLocked := reason == wire.ReasonLocked && known && now.State == wire.RepositoryReady
		if !wasLocked && !isLocked || reason != "" && reason != wire.ReasonLocked {
			return
		}
	}
	v.states.set(v.url, state, reason, message)
}

// retry follows a run that waits for the repository.
func (v view) retry(r restic.Retry) {
	if !r.Recovered {
		if !v.states.calm(v.url) {
			v.set(wire.RepositoryRetrying, reasonOf(r.Kind), "restic tries again: "+orElse(r.Reason, string(r.Kind)))
		}
		return
	}
	if now, known := v.states.state(v.url); known && now.State == wire.RepositoryRetrying && now.Reason != wire.ReasonLocked {
		v.set(wire.RepositoryReady, "", "")
	}
}

// ended follows the end of a run. opened says that the run cannot have got so far without the repository, waits that a job waits for its next attempt there.
func (v view) ended(err error, opened, waits bool) {
	var prepared *preparation
	switch {
	case opened:
		v.set(wire.RepositoryReady, "", "")
		return
	case errors.As(err, &prepared) && prepared.reason == wire.ReasonNoCredential:
		v.set(wire.RepositoryFailed, prepared.reason, prepared.message)
		return
	}
	switch kind := restic.KindOf(err); kind {
	case restic.KindNoRepository, restic.KindHalfInitialised, restic.KindLocked, restic.KindWrongPassword, restic.KindUnauthorized, restic.KindUnreachable, restic.KindTLS:
		v.set(wire.RepositoryFailed, reasonOf(kind), messageOf(err))
	default:
		// A run that was ended while it waited leaves nobody who tries.
		if now, known := v.states.state(v.url); known && now.State == wire.RepositoryRetrying && !waits {
			v.set(wire.RepositoryFailed, now.Reason, now.Message)
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
func repositoryOpened(r *result, err error) bool {
	if err == nil {
		return true
	}
	var verdict *judged
	if errors.As(err, &verdict) && verdict.cause == nil {
		return true
	}
	switch restic.KindOf(err) {
	case restic.KindNoSuchSnapshot, restic.KindNothingRestored, restic.KindForgetRefused, restic.KindCommandFailed, restic.KindCommandEmpty:
		return true
	}
	return r.Backup != nil && r.Backup.SnapshotID != ""
}
