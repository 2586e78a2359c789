package job

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/restic-manager/restic-manager/agent/atomicfile"
	"github.com/restic-manager/restic-manager/agent/drill"
	"github.com/restic-manager/restic-manager/agent/hook"
	"github.com/restic-manager/restic-manager/agent/restic"
	"github.com/restic-manager/restic-manager/api/wire"
)

// Manager runs jobs. See the package documentation.
type Manager struct {
	options Options
	ledger  *ledger
	logs    *logs
	states  *repositories
	stats   *stats
	// These are replaced in tests.
	newRunner func(context.Context, *Job) (runners, error)
	runHook   func(context.Context, hook.Call) error
	drill     func(context.Context, drill.Restic, drill.Options) (wire.VerifySummary, error)

	// followers hear of the logs, talkative says for which jobs somebody wants a line per file.
	followers followers
	talkative talkative

	// others has room for the jobs on other hosts' repositories that may run at the same time.
	others chan struct{}

	ctx     context.Context
	stop    context.CancelCauseFunc
	running sync.WaitGroup

	mu     sync.Mutex
	closed bool
	// removed: see SetRemoved.
	removed bool
	// ensured counts the calls of Ensure: only the last one's repository is looked at again.
	ensured int
	queues  map[string]*queue // by repository
	tasks   map[string]*task  // by job id
}

// Causes of a cancelled context.
var (
	errCancelled = errors.New("the job was cancelled")
	errStopping  = errors.New("the agent is stopping")
)

// Open opens the ledger and the logs.
func Open(options Options) (*Manager, error) {
	if err := options.check(); err != nil {
		return nil, err
	}
	ledger, err := openLedger(options.Dir, options.Logger)
	if err != nil {
		return nil, fmt.Errorf("job ledger: %w", err)
	}
	logs, err := openLogs(options.LogDir, options.MaxLogs, options.MaxLogBytes, options.Logger)
	if err != nil {
		return nil, fmt.Errorf("job logs: %w", err)
	}
	if err := atomicfile.MkdirAll(options.RestoreDir); err != nil {
		return nil, fmt.Errorf("restore folder: %w", err)
	}
	if err := (&restic.Runner{TempDir: options.TempDir}).RemoveLeftovers(); err != nil {
		options.Logger.Warn("temporary folders of an earlier agent cannot be removed", "error", err)
	}
	if err := drill.RemoveLeftovers(options.ScratchDir); err != nil {
		options.Logger.Warn("what an earlier agent's restore drill restored cannot be removed", "error", err)
	}
	m := &Manager{options: options, ledger: ledger, logs: logs, states: newRepositories(options.Observer, options.Clock), stats: openStats(options.StatsPath, options.Logger),
		queues: make(map[string]*queue), tasks: make(map[string]*task), others: make(chan struct{}, options.MaxOthers)}
	m.newRunner, m.drill = m.resticRunner, drill.Run
	m.runHook = (&hook.Runner{Logger: options.Logger}).Run
	m.ctx, m.stop = context.WithCancelCause(context.Background())
	m.ledger.prune(m.now())
	return m, nil
}

func (m *Manager) now() time.Time { return m.options.Clock.Now().Round(0).UTC() }

// Recover reports the jobs that an earlier process left behind: those that were running or waiting as failed, and results that were never
// delivered as they are. Call it once, before Submit. It returns what it reported.
func (m *Manager) Recover() []wire.JobFinished {
	var out []wire.JobFinished
	for _, r := range m.ledger.open() {
		if r.Result == nil {
			result := m.newResult(r)
			result.fail(wire.ReasonAgentRestarted, "The agent or the machine stopped while the job ran; a backup that was cut off is continued by the next one, which finds what is there already.")
			if r.State == StateAccepted {
				result.Message = "The agent or the machine stopped before the job's turn came; start it again."
			}
			result.LogTail = m.logs.tail(r.Job.JobID)
			m.finish(r, result.JobFinished)
		} else {
			m.deliver(r)
		}
		out = append(out, *r.Result)
	}
	return out
}

// Submit accepts a job: its id is durable when it returns nil. ErrKnown means that it was accepted before, ErrQueueFull, ErrRemoved and errors of the disk that
// it was not accepted and may be submitted again.
func (m *Manager) Submit(j Job) error {
	if err := j.validate(); err != nil {
		return err
	}
	if _, known := m.ledger.lookup(j.Ref.JobID); known {
		m.announce(j.Ref.JobID)
		return ErrKnown
	}
	if err := m.refuses(); err != nil {
		return err
	}
	r := &record{Job: j.Ref, URL: restic.RedactURL(j.Repository.URL), AcceptedAt: m.now(), NotAfter: j.NotAfter, Offline: j.Offline, Forever: j.Ref.JobID == InitID(j.Repository.URL)}
	if err := m.ledger.accept(r); err != nil {
		if errors.Is(err, ErrKnown) {
			m.announce(j.Ref.JobID)
		}
		return err
	}
	t := &task{job: j, record: r}
	defer m.followers.ring(j.Ref.JobID)
	if waits, ok := m.enqueue(t); !ok {
		// Close or SetRemoved came in between: it is in the ledger, and needs a result.
		m.endBeforeStart(t)
		return nil
	} else if waits {
		m.options.Observer.Started(wire.JobStarted{Job: j.Ref, Queued: true})
	}
	return nil
}

// Known tells whether the id was ever accepted.
func (m *Manager) Known(id string) bool {
	_, known := m.ledger.lookup(id)
	return known
}

// State of a job, with the result of a finished one where the ledger still holds it.
func (m *Manager) State(id string) (State, *wire.JobFinished, error) {
	r, err := m.ledger.get(id)
	if err != nil {
		return "", nil, err
	}
	return r.State, r.Result, nil
}

// Running lists the jobs that run, Queued those that wait; both sorted.
func (m *Manager) Running() []string { return m.list(true) }

// Queued lists the jobs that wait for another one of their repository.
func (m *Manager) Queued() []string { return m.list(false) }

func (m *Manager) list(running bool) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []string
	for id, t := range m.tasks {
		if t.started.IsZero() != running {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out
}

// Announce tells the Observer again of each job that waits or runs, after a reconnect.
func (m *Manager) Announce() {
	for _, id := range append(m.Running(), m.Queued()...) {
		m.announce(id)
	}
}

// announce tells a job's present state again.
func (m *Manager) announce(id string) {
	m.mu.Lock()
	t := m.tasks[id]
	var started wire.JobStarted
	var waits *wire.JobProgress
	if t != nil {
		started = wire.JobStarted{Job: t.job.Ref, Queued: t.started.IsZero(), StartedAt: t.started}
		if t.retrying != "" {
			waits = new(t.progress)
		}
	}
	m.mu.Unlock()
	if t != nil {
		m.options.Observer.Started(started)
		if waits != nil {
			m.options.Observer.Progress(*waits)
		}
		return
	}
	if e, ok := m.ledger.lookup(id); !ok || e.state != StateFinished || !e.delivered {
		return // its result is being delivered anyway
	}
	if r, err := m.ledger.get(id); err == nil && r.Result != nil {
		r.Result.LogTail = m.logs.tail(id)
		if err := m.options.Observer.Finished(*r.Result); err != nil {
			m.options.Logger.Warn("the result of a job cannot be told again", "job", id, "error", err)
		}
	}
}

// Close ends everything: jobs that wait or run are reported failed (AgentRestarted), after restic ended. It returns when all results are in the ledger.
func (m *Manager) Close() {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	m.stop(errStopping)
	m.running.Wait()
}
