package job

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/restic-manager/restic-manager/agent/atomicfile"
	"github.com/restic-manager/restic-manager/agent/restic"
	"github.com/restic-manager/restic-manager/api/wire"
)

const (
	// listEvery and measureEvery are how old a listing of the snapshots and a measurement of the repository may become before a backup has them made anew.
	listEvery    = 24 * time.Hour
	measureEvery = 7 * 24 * time.Hour
	// futureSlack is by how much a snapshot may be dated later than its listing before it counts as one of the future: clocks are corrected now and then.
	futureSlack = 5 * time.Minute
)

// stats are what is known of the machine's own snapshots. They are kept on disk, so that neither a restart nor a failure loses that a listing is due. mu
// guards known, and is held during writes.
type stats struct {
	path   string
	logger *slog.Logger

	mu    sync.Mutex
	known statsFile
}

type statsFile struct {
	// Repository and ResticHost tell whose statistics these are; the first is a hash.
	Repository string `json:"repository"`
	ResticHost string `json:"resticHost"`
	// List and Measure are what is wanted and was not done yet.
	List    bool                  `json:"list,omitempty"`
	Measure bool                  `json:"measure,omitempty"`
	Stats   *wire.RepositoryStats `json:"stats,omitempty"`
}

// openStats reads the file; what cannot be read is listed anew.
func openStats(path string, logger *slog.Logger) *stats {
	s := &stats{path: path, logger: logger}
	raw, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(raw, &s.known)
	}
	if err != nil {
		s.known = statsFile{}
		if !errors.Is(err, fs.ErrNotExist) {
			logger.Warn("the statistics of the repository cannot be read; they are made anew", "error", err)
		}
	}
	return s
}

// of makes the file one about this part of this repository. It is called with mu held, as all that follows.
func (s *stats) of(own Own) *statsFile {
	sum := sha256.Sum256([]byte("restic-manager/stats/v1\n" + queueKey(own.Repository)))
	repository := hex.EncodeToString(sum[:])
	if s.known.Repository != repository || s.known.ResticHost != own.ResticHost {
		s.known = statsFile{Repository: repository, ResticHost: own.ResticHost}
	}
	return &s.known
}

func (s *stats) save() {
	raw, err := json.Marshal(s.known)
	if err == nil {
		err = atomicfile.Write(s.path, append(raw, '\n'))
	}
	if err != nil {
		s.logger.Warn("the statistics of the repository cannot be kept; after a restart they are made anew", "error", err)
	}
}

// count adds a snapshot to what was listed, and returns the sum; nil when nothing was listed yet.
func (s *stats) count(own Own, group string, bytes int64, taken, now time.Time) *wire.RepositoryStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := s.of(own)
	if known.Stats == nil {
		return nil
	}
	sum := *known.Stats
	sum.Groups = slices.Clone(sum.Groups)
	sum.Time = now
	sum.Snapshots++
	i := slices.IndexFunc(sum.Groups, func(g wire.GroupStats) bool { return g.Name == group })
	if i < 0 && len(sum.Groups) < wire.MaxGroups {
		i, sum.Groups = len(sum.Groups), append(sum.Groups, wire.GroupStats{Name: group})
	}
	if i >= 0 {
		g := &sum.Groups[i]
		sum.RestoreBytes += bytes - g.RestoreBytes
		g.Snapshots++
		g.RestoreBytes, g.Newest = bytes, taken
		if g.Oldest.IsZero() {
			g.Oldest = taken
		}
	}
	known.Stats = &sum
	s.save()
	return new(sum)
}

// want remembers that a listing is due, and maybe a measurement.
func (s *stats) want(own Own, measure bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := s.of(own)
	if known.List && (known.Measure || !measure) {
		return
	}
	known.List, known.Measure = true, known.Measure || measure
	s.save()
}

// due tells what is to be done: what was wanted, and what is too old.
func (s *stats) due(own Own, now time.Time) (list, measure bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := s.of(own)
	return known.List || known.Stats == nil || stale(known.Stats.ListedTime, now, listEvery),
		known.Measure || known.Stats == nil || stale(known.Stats.RawTime, now, measureEvery)
}

// unknown tells whether nothing was ever listed, or a listing is wanted.
func (s *stats) unknown(own Own) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := s.of(own)
	return known.List || known.Stats == nil
}

// stale counts a time in the future too: the clock was wrong.
func stale(t, now time.Time, limit time.Duration) bool {
	return now.Sub(t) >= limit || t.After(now.Add(futureSlack))
}

// listed stores a listing. One without a measurement keeps the last one's.
func (s *stats) listed(own Own, fresh wire.RepositoryStats, measured bool) wire.RepositoryStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := s.of(own)
	if !measured && known.Stats != nil {
		fresh.RawBytes, fresh.RawTime = known.Stats.RawBytes, known.Stats.RawTime
	}
	known.Stats, known.List = &fresh, false
	if measured {
		known.Measure = false
	}
	s.save()
	return fresh
}

// summarise makes statistics of a listing, oldest snapshot first. A snapshot belongs to the groups whose tag it has.
func summarise(snapshots []restic.Snapshot, groups []wire.SourceGroup, now time.Time) wire.RepositoryStats {
	out := wire.RepositoryStats{Time: now, ListedTime: now, Snapshots: int64(len(snapshots))}
	latest := now.Add(futureSlack)
	for _, s := range snapshots {
		if s.Time.After(latest) {
			out.FutureSnapshots++
		}
	}
	for _, g := range groups[:min(len(groups), wire.MaxGroups)] {
		part := wire.GroupStats{Name: g.Name}
		for _, s := range snapshots {
			if !slices.Contains(s.Tags, g.Tag) {
				continue
			}
			part.Snapshots++
			if s.Time.After(latest) {
				continue // it is not the newest, whatever it says
			}
			if part.Oldest.IsZero() {
				part.Oldest = s.Time.UTC()
			}
			part.Newest, part.RestoreBytes = s.Time.UTC(), count(s.TotalBytes)
		}
		out.RestoreBytes += part.RestoreBytes
		out.Groups = append(out.Groups, part)
	}
	return out
}
