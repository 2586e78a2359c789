package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/restic-manager/restic-manager/agent/atomicfile"
	"github.com/restic-manager/restic-manager/api/wire"
)

const statusFile = "status.json"

// maxResults bounds the last results in the status.
const maxResults = 100

// Status is what the agent tells a person on its machine. It is written for them alone: nothing reads it back for a decision.
type Status struct {
	Host    wire.HostRef `json:"host"`
	Version string       `json:"version"`
	// Running is whether an agent works on the folder now; the rest is what the last one wrote.
	Running   bool   `json:"-"`
	Gateway   string `json:"gateway"`
	Connected bool   `json:"connected"`
	// Since is when Connected last changed.
	Since           time.Time `json:"since,omitzero"`
	AppliedRevision string    `json:"appliedRevision,omitempty"`
	// RemovedAt is when the Host of this machine was removed, zero while it was not. CredentialsKept says that what opens its repository is kept all the same.
	RemovedAt       time.Time `json:"removedAt,omitzero"`
	CredentialsKept bool      `json:"credentialsKept,omitempty"`
	// Problem is why there is no set in force, or the set was refused.
	Problem string `json:"problem,omitempty"`
	// NotAllowed is what of the set in force the owner does not allow.
	NotAllowed []wire.NotAllowed `json:"notAllowed,omitempty"`
	// Unacked counts reports in the outbox that the gateway has not taken yet.
	Unacked    int              `json:"-"`
	Repository *RepositoryView  `json:"repository,omitempty"`
	Results    map[string]Ended `json:"results,omitempty"`
}

// RepositoryView is the last state of the repository.
type RepositoryView struct {
	State   wire.RepositoryState `json:"state"`
	Reason  wire.Reason          `json:"reason,omitempty"`
	Message string               `json:"message,omitempty"`
	URL     string               `json:"url"`
	Time    time.Time            `json:"time"`
}

// Ended is the last result of a source group's backup, or of another kind of job.
type Ended struct {
	Outcome    wire.Outcome `json:"outcome"`
	Reason     wire.Reason  `json:"reason,omitempty"`
	Message    string       `json:"message,omitempty"`
	FinishedAt time.Time    `json:"finishedAt"`
	SnapshotID string       `json:"snapshotID,omitempty"`
	// Did says in a few words what came of it, where the kind has something to tell.
	Did string `json:"did,omitempty"`
}

// ReadStatus reads what the agent of a state folder wrote.
func ReadStatus(stateDir string) (Status, error) {
	s := Status{Running: locked(stateDir)}
	if waiting, err := filepath.Glob(filepath.Join(stateDir, "outbox", "[0-9]*.json")); err == nil {
		s.Unacked = len(waiting)
	}
	raw, err := os.ReadFile(filepath.Join(stateDir, statusFile))
	if errors.Is(err, fs.ErrNotExist) {
		return s, fmt.Errorf("the agent has never run with the state folder %s: %w", stateDir, err)
	}
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(raw, &s); err != nil {
		return s, fmt.Errorf("%s is damaged; the agent writes it anew at its next change", filepath.Join(stateDir, statusFile))
	}
	return s, nil
}

// statusWriter keeps the file up to date.
type statusWriter struct {
	path   string
	logger *slog.Logger

	mu     sync.Mutex
	status Status
	failed bool
}

// newStatusWriter carries the last results over from the earlier run.
func newStatusWriter(stateDir string, host wire.HostRef, version, gateway string, logger *slog.Logger) *statusWriter {
	earlier, _ := ReadStatus(stateDir)
	w := &statusWriter{path: filepath.Join(stateDir, statusFile), logger: logger,
		status: Status{Host: host, Version: version, Gateway: gateway, Repository: earlier.Repository, Results: earlier.Results}}
	if w.status.Results == nil {
		w.status.Results = map[string]Ended{}
	}
	return w
}

// update changes the status and writes it.
func (w *statusWriter) update(change func(*Status)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change(&w.status)
	raw, err := json.MarshalIndent(w.status, "", "  ")
	if err == nil {
		err = atomicfile.Write(w.path, raw)
	}
	if err != nil && !w.failed {
		w.logger.Warn("the status for `restic-manager-agent status` cannot be written", "error", err)
	}
	w.failed = err != nil
}

func (w *statusWriter) ended(m *wire.JobFinished) {
	key := string(m.Job.Kind)
	if m.Job.SourceGroup != "" {
		key += " " + m.Job.SourceGroup
	}
	if m.Job.TargetHost != "" {
		key += " for " + m.Job.TargetHost
	}
	e := Ended{Outcome: m.Outcome, Reason: m.Reason, Message: m.Message, FinishedAt: m.FinishedAt, Did: did(m)}
	if m.Backup != nil {
		e.SnapshotID = m.Backup.SnapshotID
	}
	w.update(func(s *Status) {
		if _, known := s.Results[key]; !known && len(s.Results) >= maxResults {
			dropOldest(s.Results)
		}
		s.Results[key] = e
	})
}

func dropOldest(results map[string]Ended) {
	oldest := ""
	for key, e := range results {
		if oldest == "" || e.FinishedAt.Before(results[oldest].FinishedAt) {
			oldest = key
		}
	}
	delete(results, oldest)
}

// did says what maintenance came to.
func did(m *wire.JobFinished) string {
	switch {
	case m.Forget != nil && m.Forget.Refused > 0:
		return fmt.Sprintf("removed %d snapshots, kept %d, the repository refused to remove %d", m.Forget.Removed, m.Forget.Kept, m.Forget.Refused)
	case m.Forget != nil:
		return fmt.Sprintf("removed %d snapshots, kept %d", m.Forget.Removed, m.Forget.Kept)
	case m.Prune != nil:
		return fmt.Sprintf("freed %s, %s remain", inMiB(m.Prune.BytesFreed), inMiB(m.Prune.BytesRemaining))
	case m.Check != nil && m.Check.ReadDataSubset != "":
		return fmt.Sprintf("%d errors, read %s of the data", m.Check.Errors, m.Check.ReadDataSubset)
	case m.Check != nil:
		return fmt.Sprintf("%d errors", m.Check.Errors)
	case m.Verify != nil:
		return fmt.Sprintf("%d files verified, %d failed", m.Verify.FilesVerified, m.Verify.FilesFailed)
	case m.Job.Kind == wire.JobUnlock && m.Outcome == wire.OutcomeSucceeded:
		return fmt.Sprintf("%d stale locks removed", m.LocksRemoved)
	}
	return ""
}

func inMiB(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }
