package agent

import (
	"crypto/sha256"
	"encoding/json"
	"sync"

	"github.com/restic-manager/restic-manager/agent/job"
	"github.com/restic-manager/restic-manager/agent/restic"
	"github.com/restic-manager/restic-manager/api/wire"
)

// repository keeps an eye on the host's own repository: it is looked at when a set brings another one or other credentials, and at each
// connect until it was seen ready (the job manager itself looks again now and then); changes of its state are reported.
type repository struct {
	agent *Agent

	mu sync.Mutex
	// looked is the access that was last looked at by this process; told is the last state that it reported. A new process reports anew,
	// whatever its predecessor did: what the cluster knew may be lost.
	looked [sha256.Size]byte
	told   wire.RepoState
}

func newRepository(a *Agent) *repository { return &repository{agent: a} }

// access identifies a repository and the means to open it.
func (r *repository) access(repository wire.Repository) [sha256.Size]byte {
	credential, _ := r.agent.vault.Get(repository.Credential)
	raw, err := json.Marshal(struct {
		Repository wire.Repository
		Credential wire.Credential
	}{repository, credential})
	if err != nil {
		return [sha256.Size]byte{}
	}
	return sha256.Sum256(raw)
}

// look has the job manager probe the repository, and make it when it never existed. It returns at once.
func (r *repository) look() {
	a := r.agent
	set := a.desired.Current()
	if set == nil || set.Tombstone {
		return
	}
	access := r.access(set.Repository)
	r.mu.Lock()
	// Nothing told yet: the first look is under way.
	known := r.looked == access && (r.told.State == "" || r.told.State == wire.RepositoryReady)
	r.looked = access
	r.mu.Unlock()
	if known {
		return
	}
	way := a.access(set.Repository.Credential)
	a.jobs.Ensure(job.Job{ResticHost: set.ResticHost, Repository: set.Repository, Bandwidth: set.Bandwidth, Credential: way.credential, Opened: way.opened})
}

// forget has the repository looked at, and its state told, anew.
func (r *repository) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.looked, r.told = [sha256.Size]byte{}, wire.RepoState{}
}

// report passes a state on when it differs from the last one. A job or look that began before the Host got another repository, or was removed, says
// nothing about the present one.
func (r *repository) report(m wire.RepoState) {
	a := r.agent
	if set := a.desired.Current(); set != nil && (set.Tombstone || m.URL != restic.RedactURL(set.Repository.URL)) {
		a.logger.Debug("a former repository's state changed", "state", m.State, "reason", m.Reason, "repository", m.URL)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.told.State == m.State && r.told.Reason == m.Reason && r.told.URL == m.URL {
		return
	}
	r.told = m
	m.Message = wire.Cut(m.Message, wire.MaxString)
	attributes := []any{"state", m.State, "repository", m.URL}
	if m.Reason != "" {
		attributes = append(attributes, "reason", m.Reason, "message", m.Message)
	}
	a.logger.Info("the repository's state changed", attributes...)
	a.reports.Add(&m)
	a.status.update(func(s *Status) {
		s.Repository = &RepositoryView{State: m.State, Reason: m.Reason, Message: m.Message, URL: m.URL, Time: m.Time}
	})
}

// resticMissing tells at start-up that no job can run.
func (r *repository) resticMissing(err error) {
	url := ""
	if set := r.agent.desired.Current(); set != nil {
		url = restic.RedactURL(set.Repository.URL)
	}
	r.report(wire.RepoState{State: wire.RepositoryFailed, Reason: wire.ReasonResticMissing, Message: err.Error(), URL: url, Time: r.agent.o.Clock.Now().UTC()})
}
