package untar

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"
)

// Overwrite says what happens to files that exist.
type Overwrite string

// The policies.
const (
	// Refuse ends with an error.
	Refuse Overwrite = ""
	// Always replaces them, Never leaves them.
	Always Overwrite = "Always"
	Never  Overwrite = "Never"
)

// Options of an extraction.
type Options struct {
	Overwrite Overwrite
	// Owners keeps user and group ids; only root can.
	Owners bool
	// Progress is told after each file. It may be nil.
	Progress func(Done)
}

// Done is what was unpacked.
type Done struct {
	Files, Folders, Links int64
	Bytes                 int64
	// Kept files existed already; Skipped are devices, sockets and the like.
	Kept, Skipped int64
}

// folder is one whose mode and time are set in the end.
type folder struct {
	name string
	mode fs.FileMode
	time time.Time
}

// extraction is one archive on its way into a folder.
type extraction struct {
	root    *os.Root
	o       Options
	done    Done
	folders []folder
}

// Into unpacks a tar stream below root.
func Into(root *os.Root, stream io.Reader, o Options) (Done, error) {
	e := &extraction{root: root, o: o}
	archive := tar.NewReader(stream)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return e.done, fmt.Errorf("reading the archive: %w", err)
		}
		if err := e.entry(header, archive); err != nil {
			return e.done, err
		}
		if o.Progress != nil {
			o.Progress(e.done)
		}
	}
	// What follows the end of the archive is read too: its sender waits for that.
	if _, err := io.Copy(io.Discard, stream); err != nil {
		return e.done, err
	}
	return e.done, e.finish()
}

// local is the name of an entry below the folder.
func local(name string) (string, error) {
	cleaned := strings.TrimLeft(path.Clean("/"+strings.ReplaceAll(name, "\x00", "")), "/")
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return "", fmt.Errorf("the archive holds %q, which leads out of the folder: nothing of it is written", name)
		}
	}
	return cleaned, nil
}

func (e *extraction) entry(h *tar.Header, content io.Reader) error {
	name, err := local(h.Name)
	if err != nil {
		return err
	}
	if name == "" || name == "." {
		return nil
	}
	if parent := path.Dir(name); parent != "." {
		if err := e.root.MkdirAll(parent, 0o755); err != nil {
			return fmt.Errorf("making folder %s: %w", parent, err)
		}
	}
	switch h.Typeflag {
	case tar.TypeDir:
		return e.folder(name, h)
	case tar.TypeReg:
		return e.file(name, h, content)
	case tar.TypeSymlink:
		return e.symlink(name, h)
	case tar.TypeLink:
		return e.hardlink(name, h)
	}
	e.done.Skipped++
	return nil
}

func (e *extraction) folder(name string, h *tar.Header) error {
	if err := e.root.Mkdir(name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("making folder %s: %w", name, err)
	}
	if info, err := e.root.Lstat(name); err != nil || !info.IsDir() {
		return fmt.Errorf("%s is in the way: the archive has a folder of that name", name)
	}
	e.done.Folders++
	e.folders = append(e.folders, folder{name, h.FileInfo().Mode().Perm(), h.ModTime})
	return e.own(name, h)
}

// clear makes room for an entry. It tells whether what is there stays.
func (e *extraction) clear(name string) (kept bool, err error) {
	info, err := e.root.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, err
	case info.IsDir():
		return false, fmt.Errorf("%s is a folder here and a file in the snapshot: move it away", name)
	case e.o.Overwrite == Never:
		e.done.Kept++
		return true, nil
	case e.o.Overwrite == Refuse:
		return false, fmt.Errorf("%s exists already: choose an empty folder, or --overwrite Always or Never", name)
	}
	return false, e.root.Remove(name)
}

func (e *extraction) file(name string, h *tar.Header, content io.Reader) error {
	if kept, err := e.clear(name); kept || err != nil {
		return err
	}
	// Never over what is there: a link that somebody else made meanwhile is not followed.
	f, err := e.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	n, err := io.Copy(f, content)
	if err == nil {
		err = f.Chmod(h.FileInfo().Mode().Perm())
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	e.done.Files++
	e.done.Bytes += n
	if err := e.own(name, h); err != nil {
		return err
	}
	return e.root.Chtimes(name, h.ModTime, h.ModTime)
}

func (e *extraction) symlink(name string, h *tar.Header) error {
	if kept, err := e.clear(name); kept || err != nil {
		return err
	}
	if err := e.root.Symlink(h.Linkname, name); err != nil {
		return fmt.Errorf("making link %s: %w", name, err)
	}
	e.done.Links++
	return e.own(name, h)
}

func (e *extraction) hardlink(name string, h *tar.Header) error {
	target, err := local(h.Linkname)
	if err != nil {
		return err
	}
	if kept, err := e.clear(name); kept || err != nil {
		return err
	}
	if err := e.root.Link(target, name); err != nil {
		return fmt.Errorf("linking %s to %s: %w", name, target, err)
	}
	e.done.Links++
	return nil
}

func (e *extraction) own(name string, h *tar.Header) error {
	if !e.o.Owners {
		return nil
	}
	return e.root.Lchown(name, h.Uid, h.Gid)
}

// finish gives folders their modes and times, the deepest first.
func (e *extraction) finish() error {
	for i := len(e.folders) - 1; i >= 0; i-- {
		f := e.folders[i]
		if err := e.root.Chtimes(f.name, f.time, f.time); err != nil {
			return err
		}
		if err := e.root.Chmod(f.name, f.mode); err != nil {
			return err
		}
	}
	return nil
}
