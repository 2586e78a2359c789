package drill

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/restic-manager/restic-manager/agent/restic"
	"golang.org/x/sys/unix"
)

// hashRestored hashes a file below the scratch folder; links that lead out of it are not followed.
func hashRestored(ctx context.Context, root *os.Root, n restic.Node) (digest, error) {
	name := strings.TrimPrefix(n.Path, "/")
	info, err := root.Lstat(name)
	if err != nil {
		return digest{}, err
	}
	if !info.Mode().IsRegular() {
		return digest{}, fmt.Errorf("it is a %s, and a file in the snapshot", info.Mode().Type())
	}
	if info.Size() != bytesOf(n) {
		return digest{}, fmt.Errorf("it has %d bytes, and %d in the snapshot", info.Size(), n.Size)
	}
	f, err := root.Open(name)
	if errors.Is(err, fs.ErrPermission) {
		// Whoever is not root cannot read what has no permissions, though it is his.
		if chmodErr := root.Chmod(name, 0o600); chmodErr == nil {
			f, err = root.Open(name)
		}
	}
	if err != nil {
		return digest{}, err
	}
	defer f.Close()
	return hashAll(ctx, f)
}

// What the file on the machine is to that of the snapshot.
type liveState int

const (
	// liveOther: there is none, or it has changed: nothing can be said.
	liveOther liveState = iota
	// liveTouched: size and modification time are those of the snapshot, but the inode was changed later.
	liveTouched
	// liveSame: nothing was changed since the snapshot.
	liveSame
)

// hashLive hashes the first limit bytes of the machine's own file, where its size and modification time are the snapshot's before and after.
func hashLive(ctx context.Context, n restic.Node, limit int64, snapshot time.Time) (digest, liveState) {
	// A fifo or device that took the file's place must not be waited for, nor a link be followed.
	f, err := os.OpenFile(n.Path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return digest{}, liveOther
	}
	defer f.Close()
	if !unchanged(f, n) {
		return digest{}, liveOther
	}
	sum, err := hashAll(ctx, io.LimitReader(f, limit))
	if err != nil || !unchanged(f, n) {
		return digest{}, liveOther
	}
	if !changedOf(f).Before(snapshot) {
		return sum, liveTouched
	}
	return sum, liveSame
}

func unchanged(f *os.File, n restic.Node) bool {
	info, err := f.Stat()
	return err == nil && info.Mode().IsRegular() && info.Size() == bytesOf(n) && info.ModTime().Equal(n.ModTime)
}

// changedOf is when the inode was last changed, which no program can set.
func changedOf(f *os.File) time.Time {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return time.Now()
	}
	return time.Unix(st.Ctim.Unix())
}

func hashAll(ctx context.Context, r io.Reader) (digest, error) {
	h := sha256.New()
	if _, err := io.Copy(h, contextReader{ctx, r}); err != nil {
		return digest{}, err
	}
	return digest(h.Sum(nil)), nil
}

// contextReader ends when its context does.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	return c.r.Read(p)
}
