package drill

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/restic-manager/restic-manager/agent/restic"
	"github.com/restic-manager/restic-manager/api/wire"
)

const snapshotID = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// fake is a repository with one snapshot for each tag.
type fake struct {
	t *testing.T
	// files by tag and path; a tag without files has an empty snapshot, one that is not there has none.
	files map[string]map[string]string
	nodes []restic.Node // beside those of files
	taken time.Time
	// mtime of all files.
	mtime time.Time

	tag      string // of the listing under way
	restored []string
	dumps    int
	// written replaces what a restore writes, and dumped what a dump writes; nil leaves a file out, or fails.
	written, dumped func(path, content string) *string

	snapshotsErr, listErr, restoreErr, dumpErr error
	restoreFailures                            []restic.Failure
}

func (f *fake) Snapshots(_ context.Context, _ restic.Repository, filter restic.SnapshotFilter, _ restic.Observer) ([]restic.Snapshot, error) {
	if f.snapshotsErr != nil {
		return nil, f.snapshotsErr
	}
	f.tag = filter.Tag
	if filter.Host == "" || filter.Tag == "" || filter.Newest != 1 {
		f.t.Errorf("the filter is %+v", filter)
	}
	if _, has := f.files[filter.Tag]; !has {
		return nil, nil
	}
	return []restic.Snapshot{{ID: snapshotID, Time: f.taken}, {ID: strings.Repeat("f", 64), Time: f.taken.Add(-time.Hour)}}, nil
}

func (f *fake) List(_ context.Context, _ restic.Repository, id string, each func(restic.Node) error, _ restic.Observer) error {
	if id != snapshotID {
		f.t.Errorf("snapshot %s was listed", id)
	}
	for _, n := range f.nodes {
		if err := each(n); err != nil {
			return err
		}
	}
	for path, content := range f.files[f.tag] {
		if err := each(restic.Node{Path: path, Type: restic.NodeFile, Size: uint64(len(content)), ModTime: f.mtime}); err != nil {
			return err
		}
	}
	return f.listErr
}

func (f *fake) Dump(_ context.Context, _ restic.Repository, _, path string, w io.Writer, _ restic.Observer) error {
	f.dumps++
	content := f.files[f.tag][path]
	if f.dumped != nil {
		changed := f.dumped(path, content)
		if changed == nil {
			return f.dumpErr
		}
		content = *changed
	}
	for len(content) > 0 {
		n := min(len(content), 7)
		if _, err := io.WriteString(w, content[:n]); err != nil {
			return err
		}
		content = content[n:]
	}
	return nil
}

func (f *fake) Restore(_ context.Context, o restic.RestoreOptions, _ restic.Observer) (restic.RestoreResult, error) {
	f.restored = append(f.restored, o.ExactPaths...)
	for _, path := range o.ExactPaths {
		content := f.files[f.tag][path]
		if f.written != nil {
			changed := f.written(path, content)
			if changed == nil {
				continue
			}
			content = *changed
		}
		target := filepath.Join(o.Target, path)
		if err := os.MkdirAll(filepath.Dir(target), 0o700); err != nil {
			f.t.Fatal(err)
		}
		if err := os.WriteFile(target, []byte(content), 0o600); err != nil {
			f.t.Fatal(err)
		}
	}
	return restic.RestoreResult{Failed: restic.Failures{Count: len(f.restoreFailures), First: f.restoreFailures}}, f.restoreErr
}

// notes keeps what a drill says.
type notes struct{ lines []string }

func (n *notes) Progress(restic.Progress) {}
func (n *notes) Retrying(restic.Retry)    {}
func (n *notes) Line(l restic.Line)       { n.lines = append(n.lines, l.Text) }

func (n *notes) say(text string) bool { return strings.Contains(strings.Join(n.lines, "\n"), text) }

// options of a drill of groups that have their names as tags.
func options(t *testing.T, groups ...string) (Options, *notes) {
	t.Helper()
	heard := &notes{}
	o := Options{ScratchDir: filepath.Join(t.TempDir(), "verify"), Observer: heard, Verify: wire.Verify{Sample: 5}, Rand: rand.New(rand.NewPCG(1, 2))}
	for _, g := range groups {
		o.Verify.Groups = append(o.Verify.Groups, wire.VerifyGroup{Name: g, ResticHost: "shop.web-1", Tag: g})
	}
	return o, heard
}

// empty fails when something is left in the scratch folder.
func empty(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Error(err)
	}
	for _, e := range entries {
		t.Errorf("left in the scratch folder: %s", e.Name())
	}
	if info, err := os.Stat(dir); err != nil || info.Mode() != fs.ModeDir|0o700 {
		t.Errorf("the scratch folder has mode %v, %v", info.Mode(), err)
	}
}

// tree makes files that are not on this machine: path0 … with their number as content.
func tree(n int) map[string]string {
	out := map[string]string{}
	for i := range n {
		out[fmt.Sprintf("/nonexistent/drill/%d", i)] = fmt.Sprintf("content of %d", i)
	}
	return out
}
