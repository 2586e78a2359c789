package restic

import (
	"context"
	"errors"
	"io"
	"strings"
)

// Dump writes the content of one regular file of a snapshot to w while restic reads it. The error of w, if any, ends the run and is returned. Of a folder
// restic would write a tar archive: ask for files only. It takes no lock, as List.
func (r *Runner) Dump(ctx context.Context, repository Repository, snapshotID, path string, w io.Writer, observer Observer) error {
	if err := checkSnapshotPath(path); err != nil {
		return err
	}
	return r.dump(ctx, repository, nil, snapshotID, path, w, observer)
}

// DumpFolder writes a folder of a snapshot as a tar archive, in which paths begin at the root of the snapshot; "/" is all of it. Otherwise it is as Dump. (Of
// a file restic would write the plain content, whatever it is asked for.)
func (r *Runner) DumpFolder(ctx context.Context, repository Repository, snapshotID, path string, w io.Writer, observer Observer) error {
	if err := checkFolderPath(path); err != nil {
		return err
	}
	return r.dump(ctx, repository, []string{"--archive=tar"}, snapshotID, path, w, observer)
}

func (r *Runner) dump(ctx context.Context, repository Repository, flags []string, snapshotID, path string, w io.Writer, observer Observer) error {
	if err := checkSnapshotID(snapshotID); err != nil {
		return err
	}
	args := append([]string{"--no-lock", "dump"}, flags...)
	err := r.stream(ctx, invocation{command: "dump", args: append(args, "--", snapshotID, path), repository: repository, observer: observer}, func(out io.Reader) error {
		_, err := io.Copy(w, out)
		return err
	})
	var failure *Error
	if errors.As(err, &failure) && failure.Kind == KindFailed && notInSnapshot(failure.Message) {
		failure.Kind = KindNothingRestored
	}
	return err
}

func notInSnapshot(text string) bool {
	return strings.Contains(text, "not found in snapshot") || strings.Contains(text, "should be a file, but is a") || strings.Contains(text, "should be a dir, but is a")
}

// checkFolderPath is checkSnapshotPath, and lets the root pass.
func checkFolderPath(path string) error {
	if path == "/" {
		return nil
	}
	return checkSnapshotPath(path)
}
