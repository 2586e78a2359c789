package drill

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"os"
	"strings"

	"github.com/restic-manager/restic-manager/agent/restic"
	"github.com/restic-manager/restic-manager/api/wire"
)

// trial is the drill of one snapshot.
type trial struct {
	*drill
	group    wire.VerifyGroup
	snapshot restic.Snapshot
	result   *wire.VerifyGroupResult
	used     int64
	live     int64
}

type digest = [sha256.Size]byte

// files restores the sample and compares it file by file.
func (t *trial) files(ctx context.Context, nodes []restic.Node) error {
	folder, err := t.scratch.folder()
	if err != nil {
		return fmt.Errorf("the scratch folder of the drill cannot be made: %w", err)
	}
	paths := make([]string, 0, len(nodes))
	for _, n := range nodes {
		paths = append(paths, n.Path)
		t.used += bytesOf(n)
	}
	restored, err := t.restic.Restore(ctx, restic.RestoreOptions{Repository: t.o.Repository, Snapshot: t.snapshot.ID, Target: folder, ExactPaths: paths,
		Overwrite: restic.OverwriteAlways, Sparse: true, Limits: t.o.Limits}, t.o.Observer)
	if ctx.Err() != nil || err != nil && circumstance(err) {
		return err
	}
	for _, f := range restored.Failed.First {
		if strings.Contains(f.Message, "no space left on device") {
			return &restic.Error{Kind: restic.KindNoSpace, ExitCode: restored.ExitCode,
				Message: fmt.Sprintf("the disk of the scratch folder %s is full: free some space", t.o.ScratchDir)}
		}
	}
	why := "it was not restored; the log says why"
	if err != nil {
		why = "it was not restored: " + err.Error()
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return err
	}
	defer root.Close()
	for _, n := range nodes {
		if err := t.file(ctx, root, n, why); err != nil {
			return err
		}
	}
	return nil
}

// file compares one restored file. Its error is one that ends the drill.
func (t *trial) file(ctx context.Context, root *os.Root, n restic.Node, whyMissing string) error {
	restored, err := hashRestored(ctx, root, n)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, fs.ErrNotExist):
		t.fail(n, whyMissing)
		return nil
	case err != nil:
		t.fail(n, "the restored file: "+err.Error())
		return nil
	}
	live, state := t.hashLive(ctx, n, bytesOf(n))
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if state != liveOther && live == restored {
		t.verified(bytesOf(n), true)
		return nil
	}
	// Nothing here to compare with, or a difference: the snapshot itself tells which of the two is right.
	dumped, _, err := t.dump(ctx, n, bytesOf(n)+1)
	switch {
	case ctx.Err() != nil || err != nil && circumstance(err):
		return err
	case err != nil:
		t.fail(n, "it cannot be read from the snapshot: "+err.Error())
	case dumped != restored:
		t.fail(n, "the restored file is not what the snapshot holds")
	default:
		t.judgeLive(n, bytesOf(n), live == dumped, state)
	}
	return nil
}

// judgeLive counts a file whose first read bytes are good so far, unless the machine's own says otherwise.
func (t *trial) judgeLive(n restic.Node, read int64, equal bool, state liveState) {
	switch {
	case state == liveOther:
		t.verified(read, false)
	case equal:
		t.verified(read, true)
	case state == liveTouched:
		t.note("%s differs from the file here, which was changed after the snapshot without its time of modification telling", n.Path)
		t.verified(read, false)
	default:
		t.fail(n, "the file here has another content, though its size and times say that it did not change since the backup")
	}
}

func (t *trial) verified(read int64, live bool) {
	t.result.FilesVerified++
	t.summary.BytesVerified += read
	if live {
		t.live++
		t.summary.FilesMatchingLive++
	}
}

// hashLive hashes the first limit bytes of the machine's own file; of another host's there is none here.
func (t *trial) hashLive(ctx context.Context, n restic.Node, limit int64) (digest, liveState) {
	if t.o.LiveHost != "" && t.o.LiveHost != t.group.ResticHost {
		return digest{}, liveOther
	}
	return hashLive(ctx, n, limit, t.snapshot.Time)
}

// beginning reads the first limit bytes of a file that is too large to be restored. restic checks what it reads against the hashes in the repository.
func (t *trial) beginning(ctx context.Context, n restic.Node, limit int64) error {
	limit = min(limit, bytesOf(n))
	t.used += limit
	t.note("%s has %s, more than can be restored here; its first %s are read instead", n.Path, size(bytesOf(n)), size(limit))
	got, read, err := t.dump(ctx, n, limit)
	switch {
	case ctx.Err() != nil || err != nil && circumstance(err):
		return err
	case err != nil:
		t.fail(n, "it cannot be read from the snapshot: "+err.Error())
		return nil
	case read < limit:
		t.fail(n, fmt.Sprintf("it ends after %d bytes, and has %d in the snapshot's list", read, n.Size))
		return nil
	}
	live, state := t.hashLive(ctx, n, limit)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	t.judgeLive(n, limit, live == got, state)
	return nil
}

func (t *trial) fail(n restic.Node, why string) {
	t.result.FilesFailed++
	t.failed(n.Path, why)
}

// dump hashes the first limit bytes of a file of the snapshot; one that ends within them to its end.
func (t *trial) dump(ctx context.Context, n restic.Node, limit int64) (sum digest, read int64, err error) {
	w := &bounded{hash: sha256.New(), left: limit}
	err = t.restic.Dump(ctx, t.o.Repository, t.snapshot.ID, n.Path, w, t.o.Observer)
	if errors.Is(err, errEnough) {
		err = nil
	}
	return digest(w.hash.Sum(nil)), limit - w.left, err
}

// bounded hashes what is written, up to a limit; what goes beyond ends the writer.
type bounded struct {
	hash hash.Hash
	left int64
}

func (b *bounded) Write(p []byte) (int, error) {
	n := int(min(int64(len(p)), b.left))
	_, _ = b.hash.Write(p[:n]) // never fails
	b.left -= int64(n)
	if n < len(p) {
		return n, errEnough
	}
	return n, nil
}
