package wire

import (
	"fmt"
	"time"
)

// RepositoryStats is what a machine knows of its own snapshots. Other hosts' snapshots in a shared repository are not counted.
type RepositoryStats struct {
	// Time is when this became true; ListedTime when the snapshots were last really listed: in between, backups are counted on.
	Time       time.Time `json:"time"`
	ListedTime time.Time `json:"listedTime"`
	// Snapshots of this host.
	Snapshots int64 `json:"snapshots"`
	// RestoreBytes is the size of the files in the newest snapshot of each group: what a full restore brings back.
	RestoreBytes int64 `json:"restoreBytes"`
	// RawBytes is the size of the data that the repository's snapshots refer to (restic stats --mode raw-data, all hosts), measured rarely: at RawTime.
	// It is not the use of the disk: what a prune would free is not in it.
	RawBytes int64     `json:"rawBytes,omitempty"`
	RawTime  time.Time `json:"rawTime,omitzero"`
	// FutureSnapshots are dated later than the listing: a clock was wrong, or somebody means to push real ones out of the retention.
	FutureSnapshots int64        `json:"futureSnapshots,omitempty"`
	Groups          []GroupStats `json:"groups,omitempty"`
}

// GroupStats is one group's part.
type GroupStats struct {
	Name      string `json:"name"`
	Snapshots int64  `json:"snapshots"`
	// RestoreBytes is the size of the files in the newest snapshot.
	RestoreBytes int64     `json:"restoreBytes"`
	Oldest       time.Time `json:"oldest,omitzero"`
	Newest       time.Time `json:"newest,omitzero"`
}

// Validate checks names and bounds.
func (s *RepositoryStats) Validate() error {
	var c checks
	c.that(!s.Time.IsZero(), "time is missing")
	c.that(s.Snapshots >= 0 && s.RestoreBytes >= 0 && s.RawBytes >= 0 && s.FutureSnapshots >= 0, "a count is negative")
	c.count("groups", len(s.Groups), MaxGroups)
	for i, g := range s.Groups {
		c.name(fmt.Sprintf("groups[%d].name", i), g.Name)
		c.that(g.Snapshots >= 0 && g.RestoreBytes >= 0, "groups[%d]: a count is negative", i)
	}
	return c.err
}

// RepoStats tells a fresh listing of the snapshots. Agent → gateway; durable; after maintenance of the machine, and otherwise rarely: a listing costs a
// second, a measurement several. What a backup adds travels in its JobFinished.
type RepoStats struct {
	Report ReportID        `json:"report"`
	Stats  RepositoryStats `json:"stats"`
	// URL is redacted; it tells which repository was meant when the spec changes meanwhile.
	URL string `json:"url"`
}

// MessageType implements Message.
func (*RepoStats) MessageType() Type { return TypeRepoStats }

// ID implements Report.
func (m *RepoStats) ID() ReportID { return m.Report }

// SetID implements Report.
func (m *RepoStats) SetID(id ReportID) { m.Report = id }

// Validate implements Message.
func (m *RepoStats) Validate() error {
	var c checks
	m.Report.validate(&c)
	c.nested("stats", m.Stats.Validate())
	c.text("url", m.URL, MaxString)
	return c.err
}
