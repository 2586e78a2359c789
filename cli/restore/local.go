package restore

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/cli/browse"
	"github.com/restic-manager/restic-manager/cli/query"
	"github.com/restic-manager/restic-manager/cli/terminal"
	"github.com/restic-manager/restic-manager/cli/untar"
)

// whole is the path of everything.
const whole = "/"

// ToFolder brings files into a folder here, which is made where it is not there.
func (r *Restorer) ToFolder(ctx context.Context, q Request, dir string) error {
	if err := q.CheckLocal(); err != nil {
		return err
	}
	if q.Overwrite == v1alpha1.OverwriteAlways && !q.Yes && !r.Terminal.Answers {
		return terminal.ErrNobodyToAsk
	}
	snapshot, err := browse.Resolve(ctx, r.Asker, q.Host, q.Choice)
	if err != nil {
		return err
	}
	r.tell(q, snapshot)
	if q.DryRun {
		r.Terminal.Printf("Would be written to %s: %v\n", dir, q.paths())
		return nil
	}
	if q.Overwrite == v1alpha1.OverwriteAlways && !q.Yes {
		if yes, err := r.Terminal.Confirm(ctx, fmt.Sprintf("Replace what exists in %s?", dir)); err != nil {
			return err
		} else if !yes {
			return ErrDeclined
		}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	var sum untar.Done
	for _, path := range q.paths() {
		done, err := r.unpack(ctx, q, snapshot.ID, path, root)
		sum = add(sum, done)
		if err != nil {
			return fmt.Errorf("%w. What came before that is in %s: %s", err, dir, said(sum))
		}
	}
	r.Terminal.Printf("Restored to %s: %s\n", dir, said(sum))
	return nil
}

func (r Request) paths() []string {
	if len(r.Paths) == 0 {
		return []string{whole}
	}
	return r.Paths
}

// unpack brings one path.
func (r *Restorer) unpack(ctx context.Context, q Request, snapshot, path string, root *os.Root) (untar.Done, error) {
	reader, writer := io.Pipe()
	asked := make(chan error, 1)
	go func() {
		err := r.content(ctx, q.Host, snapshot, path, writer)
		_ = writer.CloseWithError(err) // without an error that is the end of the archive
		asked <- err
	}()
	done, err := untar.Into(root, reader, untar.Options{Overwrite: untar.Overwrite(q.Overwrite), Owners: os.Geteuid() == 0, Progress: r.progress()})
	r.clear()
	_ = reader.CloseWithError(err) // the stream ends when nobody unpacks it any more
	if asking := <-asked; err == nil {
		err = asking
	}
	return done, err
}

// ToTar writes a path of a snapshot as an archive.
func (r *Restorer) ToTar(ctx context.Context, q Request, out io.Writer) error {
	if err := q.CheckLocal(); err != nil {
		return err
	}
	if len(q.Paths) > 1 {
		return fmt.Errorf("--tar makes an archive of one path, and %d are given: name the folder above them, or use --to-local", len(q.Paths))
	}
	snapshot, err := browse.Resolve(ctx, r.Asker, q.Host, q.Choice)
	if err != nil {
		return err
	}
	r.tell(q, snapshot)
	return r.content(ctx, q.Host, snapshot.ID, q.paths()[0], out)
}

// content streams one path as a tar archive.
func (r *Restorer) content(ctx context.Context, host *v1alpha1.Host, snapshot, path string, out io.Writer) error {
	q := query.Question{Host: host, Kind: wire.QueryContent, TTL: query.LongTTL,
		Parameters: wire.QueryParameters{Content: &wire.ContentQuery{Snapshot: snapshot, Path: path, Tar: true}}}
	return r.Asker.Ask(ctx, q, query.Sink{Data: func(piece []byte) error {
		_, err := out.Write(piece)
		return err
	}})
}

// progress shows on a terminal how much has come.
func (r *Restorer) progress() func(untar.Done) {
	if !r.Terminal.Interactive {
		return nil
	}
	var last int64
	return func(d untar.Done) {
		const step = 1 << 20
		if d.Bytes-last >= step || d.Files%100 == 0 {
			last = d.Bytes
			r.Terminal.Printf("\r%s\x1b[K", said(d))
		}
	}
}

func (r *Restorer) clear() {
	if r.Terminal.Interactive {
		r.Terminal.Printf("\r\x1b[K")
	}
}

func said(d untar.Done) string {
	text := fmt.Sprintf("%s, %s", terminal.Count(d.Files, "file"), terminal.Bytes(d.Bytes))
	if d.Kept > 0 {
		text += fmt.Sprintf(", %d left as they are", d.Kept)
	}
	if d.Skipped > 0 {
		text += fmt.Sprintf(", %d devices and sockets left out", d.Skipped)
	}
	return text
}

func add(a, b untar.Done) untar.Done {
	return untar.Done{Files: a.Files + b.Files, Folders: a.Folders + b.Folders, Links: a.Links + b.Links, Bytes: a.Bytes + b.Bytes, Kept: a.Kept + b.Kept, Skipped: a.Skipped + b.Skipped}
}
