package restic_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/restic-manager/restic-manager/agent/restic"
)

func TestBrowsingWithRealRestic(t *testing.T) {
	t.Parallel()
	eachRestic(t, func(t *testing.T, r *restic.Runner) {
		ctx, repository, source := t.Context(), initialised(t, r), tree(t)
		backup := func() string {
			b, err := r.Backup(ctx, restic.BackupOptions{Repository: repository, Tag: "t", Paths: []string{source}}, nil)
			if err != nil {
				t.Fatal(err)
			}
			return b.SnapshotID
		}
		first := backup()
		write(t, filepath.Join(source, "a.txt"), 20)
		write(t, filepath.Join(source, "new"), 7)
		if err := os.Remove(filepath.Join(source, "empty")); err != nil {
			t.Fatal(err)
		}
		second := backup()
		below := func(path string) string { return strings.TrimPrefix(path, source) }

		folder := func(path string, recursive bool) (found []string, err error) {
			err = r.ListFolder(ctx, repository, first, path, recursive, func(n restic.Node) error {
				found = append(found, below(n.Path))
				return nil
			}, nil)
			return found, err
		}
		for _, tt := range []struct {
			path      string
			recursive bool
			want      []string
		}{
			{source, false, []string{"", "/a.txt", "/empty", "/link", "/sub"}},
			{source + "/sub", true, []string{"/sub", "/sub/b.bin", "/sub/deep", "/sub/deep/c"}},
			{source + "/a.txt", false, []string{"/a.txt"}},
			{"/", false, []string{"/" + strings.Split(source, "/")[1]}},
		} {
			got, err := folder(tt.path, tt.recursive)
			if diff := cmp.Diff(tt.want, got); diff != "" || err != nil {
				t.Errorf("%s: %v %s", tt.path, err, diff)
			}
		}
		if _, err := folder(source+"/none", false); !errors.Is(err, restic.ErrNothingRestored) {
			t.Error("a folder that is not there:", err)
		}
		for _, path := range []string{source + "/", "etc", source + "/../x"} {
			if _, err := folder(path, false); !errors.Is(err, restic.ErrInvalid) {
				t.Errorf("%s: %v", path, err)
			}
		}

		find := func(o restic.FindOptions) (found []string, err error) {
			err = r.Find(ctx, repository, o, func(snapshot string, n restic.Node) error {
				found = append(found, fmt.Sprintf("%s %s %d", map[string]string{first: "first", second: "second"}[snapshot], below(n.Path), n.Size))
				return nil
			}, nil)
			return found, err
		}
		here := restic.SnapshotFilter{Host: r.Hostname}
		for name, tt := range map[string]struct {
			o    restic.FindOptions
			want []string
		}{
			"by name":                    {restic.FindOptions{Pattern: "a.*", Filter: here}, []string{"second /a.txt 20", "first /a.txt 10"}},
			"without regard to case":     {restic.FindOptions{Pattern: "A.TXT", IgnoreCase: true, Snapshot: first}, []string{"first /a.txt 10"}},
			"by path":                    {restic.FindOptions{Pattern: source + "/sub/deep/*", Snapshot: second[:8]}, []string{"second /sub/deep/c 5000"}},
			"of a tag":                   {restic.FindOptions{Pattern: "new", Filter: restic.SnapshotFilter{Host: r.Hostname, Tag: "t"}}, []string{"second /new 7"}},
			"of another tag":             {restic.FindOptions{Pattern: "new", Filter: restic.SnapshotFilter{Host: r.Hostname, Tag: "u"}}, nil},
			"what is nowhere":            {restic.FindOptions{Pattern: "nowhere", Filter: here}, nil},
			"what looks like an option":  {restic.FindOptions{Pattern: "--help", Filter: here}, nil},
			"on a machine that has none": {restic.FindOptions{Pattern: "*", Filter: restic.SnapshotFilter{Host: "nobody"}}, nil},
		} {
			if got, err := find(tt.o); err != nil || !slices.Equal(got, tt.want) {
				t.Errorf("%s: %q, %v", name, got, err)
			}
		}
		if _, err := find(restic.FindOptions{Pattern: "*", Snapshot: "0123456789abcdef"}); !errors.Is(err, restic.ErrNoSuchSnapshot) {
			t.Error("in no snapshot:", err)
		}
		if _, err := find(restic.FindOptions{Pattern: "[", Filter: here}); !errors.Is(err, restic.ErrInvalid) || !strings.Contains(err.Error(), "brackets") {
			t.Error("half a pattern:", err)
		}

		var changes []string
		summary, err := r.Diff(ctx, repository, first, second, func(d restic.Difference) error {
			if !strings.HasSuffix(d.Path, "/") {
				changes = append(changes, d.Modifier+below(d.Path))
			}
			return nil
		}, nil)
		if diff := cmp.Diff([]string{"M/a.txt", "-/empty", "+/new"}, changes); diff != "" || err != nil {
			t.Error(err, diff)
		}
		if summary.ChangedFiles != 1 || summary.FilesAdded != 1 || summary.FilesRemoved != 1 || summary.BytesAdded == 0 {
			t.Errorf("%+v", summary)
		}
		if _, err := r.Diff(ctx, repository, first, "0123456789abcdef", nil, nil); !errors.Is(err, restic.ErrNoSuchSnapshot) {
			t.Error("a difference to no snapshot:", err)
		}

		var ids []string
		if err := r.EachSnapshot(ctx, repository, here, func(s restic.Snapshot) error {
			ids = append(ids, s.ID+" of "+s.Parent)
			return nil
		}, nil); err != nil || !slices.Equal(ids, []string{first + " of ", second + " of " + first}) {
			t.Errorf("snapshots %q, %v", ids, err)
		}

		var archive bytes.Buffer
		if err := r.DumpFolder(ctx, repository, first, source+"/sub", &archive, nil); err != nil {
			t.Fatal(err)
		}
		sizes := map[string]int64{}
		for reader := tar.NewReader(&archive); ; {
			header, err := reader.Next()
			if errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			sizes[below("/"+header.Name)] = header.Size
		}
		if diff := cmp.Diff(map[string]int64{"/sub/b.bin": 300_000, "/sub/deep/": 0, "/sub/deep/c": 5000}, sizes); diff != "" {
			t.Error("the archive:", diff)
		}
		if err := r.DumpFolder(ctx, repository, first, source+"/none", io.Discard, nil); !errors.Is(err, restic.ErrNothingRestored) {
			t.Error("an archive of nothing:", err)
		}
		if err := r.DumpFolder(ctx, repository, first, "/", io.Discard, nil); err != nil {
			t.Error("an archive of all:", err)
		}
	})
}

func TestLocksAreListedWithRealRestic(t *testing.T) {
	t.Parallel()
	eachRestic(t, func(t *testing.T, r *restic.Runner) {
		repository, source := initialised(t, r), t.TempDir()
		write(t, filepath.Join(source, "big"), 8<<20)
		if locks, err := r.Locks(t.Context(), repository, nil); err != nil || len(locks) != 0 {
			t.Errorf("none: %+v, %v", locks, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_, _ = r.Backup(ctx, restic.BackupOptions{Repository: repository, Tag: "t", Paths: []string{source}, Limits: restic.Limits{UploadKBps: 1}}, nil)
		}()
		var locks []restic.Lock
		for deadline := time.Now().Add(time.Minute); len(locks) == 0 && time.Now().Before(deadline); {
			var err error
			if locks, err = r.Locks(t.Context(), repository, nil); err != nil {
				t.Fatal(err)
			}
		}
		if len(locks) != 1 || len(locks[0].ID) != 64 || locks[0].PID == 0 || locks[0].Hostname == "" || locks[0].Time.IsZero() || locks[0].Exclusive {
			t.Errorf("%+v", locks)
		}
		cancel()
		<-ended
	})
}
