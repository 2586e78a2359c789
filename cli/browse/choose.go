package browse

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/cli/query"
)

// Latest is the newest snapshot.
const Latest = "latest"

// Choice says which snapshot.
type Choice struct {
	// Snapshot is an id, the beginning of one, or latest; empty means latest.
	Snapshot string
	// At is the time at which things were as they are wanted: the newest snapshot that is not younger. Zero for now.
	At time.Time
	// Group narrows it to one source group, ResticHost to another value of restic's --host.
	Group, ResticHost string
}

var id = regexp.MustCompile(`^[0-9a-f]{1,64}$`)

// Check refuses a choice that cannot be meant.
func (c Choice) Check() error {
	named := c.Snapshot != "" && c.Snapshot != Latest
	switch {
	case named && !c.At.IsZero():
		return errors.New("a snapshot's id and --at exclude each other: --at finds the snapshot")
	case named && !id.MatchString(c.Snapshot):
		return fmt.Errorf("%q is no snapshot: write an id (kubectl restic snapshots lists them), or latest", c.Snapshot)
	}
	return nil
}

// Choose takes one of the snapshots of a list.
func Choose(snapshots []wire.SnapshotRecord, c Choice) (wire.SnapshotRecord, error) {
	if err := c.Check(); err != nil {
		return wire.SnapshotRecord{}, err
	}
	if c.Snapshot != "" && c.Snapshot != Latest {
		return chooseByID(snapshots, c.Snapshot)
	}
	var newest, oldest *wire.SnapshotRecord
	for i := range snapshots {
		s := &snapshots[i]
		if oldest == nil || s.Time.Before(oldest.Time) {
			oldest = s
		}
		if (c.At.IsZero() || !s.Time.After(c.At)) && (newest == nil || s.Time.After(newest.Time)) {
			newest = s
		}
	}
	switch {
	case oldest == nil && c.Group != "":
		return wire.SnapshotRecord{}, fmt.Errorf("there is no snapshot of source group %q yet", c.Group)
	case oldest == nil:
		return wire.SnapshotRecord{}, errors.New("there is no snapshot yet")
	case newest == nil:
		return wire.SnapshotRecord{}, fmt.Errorf("there is no snapshot from before %s: the oldest is %s of %s",
			c.At.Format(time.RFC3339), Short(oldest.ID), oldest.Time.In(c.At.Location()).Format(time.RFC3339))
	}
	if groups := groupsOf(snapshots); c.Group == "" && len(groups) > 1 {
		return wire.SnapshotRecord{}, fmt.Errorf("there are snapshots of several source groups (%s), and the newest is of %s: --group says which is meant", strings.Join(groups, ", "), groupOf(*newest))
	}
	return *newest, nil
}

// groupOf is the source group of a snapshot: its first tag, before those that people added.
func groupOf(s wire.SnapshotRecord) string {
	if len(s.Tags) == 0 {
		return "none"
	}
	return s.Tags[0]
}

func groupsOf(snapshots []wire.SnapshotRecord) []string {
	var groups []string
	for _, s := range snapshots {
		if g := groupOf(s); !slices.Contains(groups, g) {
			groups = append(groups, g)
		}
	}
	slices.Sort(groups)
	return groups
}

func chooseByID(snapshots []wire.SnapshotRecord, prefix string) (wire.SnapshotRecord, error) {
	matching := slices.DeleteFunc(slices.Clone(snapshots), func(s wire.SnapshotRecord) bool { return !strings.HasPrefix(s.ID, prefix) })
	switch len(matching) {
	case 1:
		return matching[0], nil
	case 0:
		return wire.SnapshotRecord{}, fmt.Errorf("there is no snapshot %s of this host: kubectl restic snapshots lists them", prefix)
	}
	return wire.SnapshotRecord{}, fmt.Errorf("%d snapshots begin with %s: write more of the id", len(matching), prefix)
}

// Short is an id as restic shows it.
func Short(id string) string { return id[:min(8, len(id))] }

// List asks for snapshots, the oldest first.
func List(ctx context.Context, a *query.Asker, host *v1alpha1.Host, q wire.SnapshotsQuery) ([]wire.SnapshotRecord, error) {
	var all []wire.SnapshotRecord
	question := query.Question{Host: host, Kind: wire.QuerySnapshots, Parameters: wire.QueryParameters{Snapshots: &q}}
	err := query.Records(ctx, a, question, func(s wire.SnapshotRecord) error { all = append(all, s); return nil })
	slices.SortStableFunc(all, func(a, b wire.SnapshotRecord) int { return a.Time.Compare(b.Time) })
	return all, err
}

// Resolve asks the machine for its snapshots and chooses.
func Resolve(ctx context.Context, a *query.Asker, host *v1alpha1.Host, c Choice) (wire.SnapshotRecord, error) {
	if err := c.Check(); err != nil {
		return wire.SnapshotRecord{}, err
	}
	all, err := List(ctx, a, host, wire.SnapshotsQuery{Group: c.Group, ResticHost: c.ResticHost})
	if err != nil {
		return wire.SnapshotRecord{}, err
	}
	return Choose(all, c)
}

// idOf is the id of a choice; the machine is asked only where it must be.
func (b *Browser) idOf(ctx context.Context, host *v1alpha1.Host, c Choice) (string, error) {
	if err := c.Check(); err != nil {
		return "", err
	}
	if len(c.Snapshot) >= 8 && c.Snapshot != Latest {
		return c.Snapshot, nil
	}
	s, err := Resolve(ctx, b.Asker, host, c)
	return s.ID, err
}
