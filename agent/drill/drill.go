package drill

import (
	"context"
	cryptorand "crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"time"

	"github.com/restic-manager/restic-manager/agent/restic"
	"github.com/restic-manager/restic-manager/api/wire"
)

// DefaultMaxBytes is how much a drill restores at most, unless Options say otherwise.
const DefaultMaxBytes = 2 << 30

// Restic is what a drill needs of restic.Runner.
type Restic interface {
	Snapshots(ctx context.Context, repository restic.Repository, filter restic.SnapshotFilter, observer restic.Observer) ([]restic.Snapshot, error)
	// List calls each for every entry of a snapshot; an error of each ends it.
	List(ctx context.Context, repository restic.Repository, snapshotID string, each func(restic.Node) error, observer restic.Observer) error
	// Dump writes the content of one file of a snapshot to w; an error of w ends it.
	Dump(ctx context.Context, repository restic.Repository, snapshotID, path string, w io.Writer, observer restic.Observer) error
	Restore(ctx context.Context, options restic.RestoreOptions, observer restic.Observer) (restic.RestoreResult, error)
}

// Options of a drill. Repository, Verify and ScratchDir are required.
type Options struct {
	Repository restic.Repository
	Verify     wire.Verify
	// ScratchDir is an absolute folder on a disk with room; it is made when missing. Each drill makes and removes a folder of its own in it.
	ScratchDir string
	// Limits cap restic's bandwidth.
	Limits restic.Limits
	// Observer hears restic's runs, and in its lines what the drill finds. Optional.
	Observer restic.Observer
	// MaxBytes bounds what is restored in all; about twice as much is downloaded. Default DefaultMaxBytes.
	MaxBytes int64
	// LiveHost is the restic host of this machine: groups of other hosts are not compared with the files here. Empty: all groups are this machine's.
	LiveHost string
	// Rand draws the sample. Default: seeded at random.
	Rand *rand.Rand
}

func (o *Options) check() error {
	if err := o.Verify.Validate(); err != nil {
		return fmt.Errorf("the drill cannot be run: verify: %w", err)
	}
	if !filepath.IsAbs(o.ScratchDir) {
		return fmt.Errorf("the drill cannot be run: the scratch folder %q is not an absolute path", o.ScratchDir)
	}
	if o.MaxBytes <= 0 {
		o.MaxBytes = DefaultMaxBytes
	}
	if o.Rand == nil {
		var seed [16]byte
		_, _ = cryptorand.Read(seed[:]) // never fails
		o.Rand = rand.New(rand.NewPCG(binary.LittleEndian.Uint64(seed[:8]), binary.LittleEndian.Uint64(seed[8:])))
	}
	return nil
}

// drill is one run.
type drill struct {
	restic  Restic
	o       Options
	scratch *scratch
	summary wire.VerifySummary
}

// Run drills each group. The summary is filled beside an error too, as far as it got.
func Run(ctx context.Context, r Restic, o Options) (summary wire.VerifySummary, err error) {
	if err := o.check(); err != nil {
		return summary, err
	}
	s, err := newScratch(o.ScratchDir)
	if err != nil {
		return summary, fmt.Errorf("the scratch folder of the drill cannot be made: %w", err)
	}
	d := &drill{restic: r, o: o, scratch: s}
	defer func() {
		if removeErr := s.remove(); removeErr != nil && err == nil {
			err = fmt.Errorf("the scratch folder of the drill cannot be removed: %w; remove it by hand", removeErr)
		}
	}()
	left := o.MaxBytes
	for i, g := range o.Verify.Groups {
		used, err := d.group(ctx, g, max(left/int64(len(o.Verify.Groups)-i), 1))
		if err != nil {
			return d.summary, err
		}
		left -= used
	}
	return d.summary, nil
}

// group drills one group with a share of the bytes, and returns how many it used.
func (d *drill) group(ctx context.Context, g wire.VerifyGroup, share int64) (used int64, err error) {
	result := wire.VerifyGroupResult{Name: g.Name}
	defer func() {
		result.Error = clip(result.Error)
		d.summary.Groups = append(d.summary.Groups, result)
		d.summary.FilesVerified += result.FilesVerified
		d.summary.FilesFailed += result.FilesFailed
	}()
	snapshot, err := d.newest(ctx, g)
	if err != nil {
		result.Error = err.Error()
		return 0, d.unlessDamage(ctx, err, &result, g.Name)
	}
	if snapshot == nil {
		result.Error = "there is no snapshot of this group yet"
		d.note("group %s: %s", g.Name, result.Error)
		return 0, nil
	}
	result.SnapshotID, result.SnapshotTime = snapshot.ID, snapshot.Time.UTC()

	room := share
	if free, err := freeBytes(d.scratch.path); err == nil {
		room = min(room, free/2)
	}
	sample := newSample(d.o.Verify.Sample, room, d.o.Rand)
	err = d.restic.List(ctx, d.o.Repository, snapshot.ID, func(n restic.Node) error { sample.see(n); return nil }, d.o.Observer)
	result.FilesInSnapshot = sample.files
	if err != nil {
		result.Error = "the snapshot cannot be listed: " + err.Error()
		return 0, d.unlessDamage(ctx, err, &result, fmt.Sprintf("(all of snapshot %.8s of group %s)", snapshot.ID, g.Name))
	}
	if sample.files == 0 {
		result.Error = fmt.Sprintf("snapshot %.8s holds no regular files", snapshot.ID)
		d.note("group %s: %s", g.Name, result.Error)
		return 0, nil
	}
	nodes := sample.draw()
	if skipped := sample.tooLarge; skipped > 0 && len(nodes) > 0 {
		d.note("group %s: %d files are larger than this drill's share of %s and are not drawn", g.Name, skipped, size(room))
	}
	t := &trial{drill: d, group: g, snapshot: *snapshot, result: &result}
	switch {
	case len(nodes) > 0:
		err = t.files(ctx, nodes)
	case sample.smallest != nil:
		err = t.beginning(ctx, *sample.smallest, share)
	default:
		result.Error = "no file of the snapshot has a name that restic can be told (they are not UTF-8)"
		d.note("group %s: %s", g.Name, result.Error)
	}
	d.note("group %s, snapshot %.8s of %s: %d files of %d verified (%d of them against the unchanged file here), %d failed", g.Name, snapshot.ID,
		snapshot.Time.UTC().Format(time.RFC3339), result.FilesVerified, result.FilesInSnapshot, t.live, result.FilesFailed)
	return t.used, err
}

// newest snapshot of a group, or nil.
func (d *drill) newest(ctx context.Context, g wire.VerifyGroup) (*restic.Snapshot, error) {
	snapshots, err := d.restic.Snapshots(ctx, d.o.Repository, restic.SnapshotFilter{Host: g.ResticHost, Tag: g.Tag, Newest: 1}, d.o.Observer)
	if err != nil || len(snapshots) == 0 {
		return nil, err
	}
	// One for each list of paths that the group has had.
	newest := snapshots[0]
	for _, s := range snapshots[1:] {
		if s.Time.After(newest.Time) {
			newest = s
		}
	}
	return &newest, nil
}

// unlessDamage returns what says nothing about the backup; all else counts as a failure of what it is about.
func (d *drill) unlessDamage(ctx context.Context, err error, result *wire.VerifyGroupResult, about string) error {
	if ctx.Err() != nil || circumstance(err) {
		return err
	}
	result.FilesFailed++
	d.failed(about, err.Error())
	return nil
}

// circumstance tells an error of getting at the repository, or of this machine, from one of what is in it.
func circumstance(err error) bool {
	switch restic.KindOf(err) {
	case restic.KindFailed, restic.KindDamaged, restic.KindNothingRestored:
		return false
	}
	return true
}

// failed notes what is wrong with a file.
func (d *drill) failed(path, why string) {
	d.note("FAILED %s: %s", path, why)
	if len(d.summary.FailedPaths) < wire.MaxListed {
		d.summary.FailedPaths = append(d.summary.FailedPaths, clip(path))
	}
}

func (d *drill) note(format string, args ...any) {
	if d.o.Observer != nil {
		d.o.Observer.Line(restic.Line{Time: time.Now(), Text: clip(fmt.Sprintf("drill: "+format, args...))})
	}
}

// errEnough ends a dump whose beginning is all that is wanted.
var errEnough = errors.New("enough was read")
