package restic

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Restore writes a snapshot's content below the target. A result with CompletedWithErrors comes without an error: something was restored, and the result says what was not.
// Latest is resolved first, so that the result names the snapshot.
func (r *Runner) Restore(ctx context.Context, options RestoreOptions, observer Observer) (RestoreResult, error) {
	result := RestoreResult{ExitCode: -1, DryRun: options.DryRun, SnapshotID: options.Snapshot}
	if err := options.check(); err != nil {
		return result, err
	}
	if options.Snapshot == Latest {
		id, err := r.latest(ctx, options.Repository, options.Filter, observer)
		if err != nil {
			return result, err
		}
		result.SnapshotID = id
	}
	redact := newRedactor(options.Repository.Environment)
	summary, content := false, 0
	began := time.Now()
	o, err := r.run(ctx, invocation{
		command: "restore", args: restoreArgs(result.SnapshotID, options), files: exactFiles(options.ExactPaths), repository: options.Repository, limits: options.Limits, observer: observer, locks: true,
		message: func(m message) {
			switch m.Type {
			case "summary":
				summary = true
				result.fill(m)
			case "error":
				result.Failed.add(shorten(redact.text(m.Item)), shorten(redact.text(m.Error.Message)))
				if !metadataError.MatchString(m.Error.Message) {
					content++
				}
			}
		},
	})
	if err != nil {
		return result, err
	}
	result.ExitCode, result.Duration = o.exitCode, time.Since(began)
	return result.judge(o, summary, content, options)
}

// latest finds the newest matching snapshot.
func (r *Runner) latest(ctx context.Context, repository Repository, filter SnapshotFilter, observer Observer) (string, error) {
	filter.Newest = 1 // per host and list of paths; the newest of them is last
	snapshots, err := r.Snapshots(ctx, repository, filter, observer)
	if err != nil {
		return "", err
	}
	if len(snapshots) == 0 {
		return "", &Error{Kind: KindNoSuchSnapshot, Command: "snapshots", Message: fmt.Sprintf("no snapshot matches %s; was there a backup yet?", filter.text())}
	}
	return snapshots[len(snapshots)-1].ID, nil
}

func (f SnapshotFilter) text() string {
	var parts []string
	if f.Host != "" {
		parts = append(parts, fmt.Sprintf("host %q", f.Host))
	}
	if f.Tag != "" {
		parts = append(parts, fmt.Sprintf("tag %q", f.Tag))
	}
	if len(f.Paths) > 0 {
		parts = append(parts, fmt.Sprintf("paths %q", f.Paths))
	}
	return strings.Join(parts, ", ")
}

// metadataError tells errors about owner, mode, times and attributes: the file's content is there.
var metadataError = regexp.MustCompile(`^(failed to restore metadata|failed to restore (timestamp|ownership)|(l?chown|chmod|lchmod|UtimesNano|utimensat|lsetxattr|xattr\.\w+) )`)

func (r *RestoreResult) fill(m message) {
	r.FilesTotal, r.FilesRestored, r.FilesSkipped = m.TotalFiles, m.FilesRestored, m.FilesSkipped
	r.BytesTotal, r.BytesRestored, r.BytesSkipped = m.TotalBytes, m.BytesRestored, m.BytesSkipped
}

// judge decides, from everything together, how the restore went. content counts the errors that cost a file its content.
func (r RestoreResult) judge(o outcome, summary bool, content int, options RestoreOptions) (RestoreResult, error) {
	if r.FilesRestored >= uint64(content) {
		r.FilesRestored -= uint64(content)
	} else {
		r.FilesRestored = 0
	}
	partial := o.exitCode == 1 && summary && r.Failed.Count > 0
	switch {
	case o.stopped != notStopped, o.exitCode != 0 && !partial:
		return r, o.failure("restore", options.Repository.URL)
	case !summary:
		return r, &Error{Kind: KindFailed, Command: "restore", ExitCode: o.exitCode, Output: o.stderr,
			Message: "restic ended well without a summary, so nobody can tell what it did; look at the log"}
	case r.FilesTotal == 0 && r.FilesSkipped == 0:
		message := "nothing was restored: the snapshot is empty"
		if includes := slices.Concat(options.Includes, options.ExactPaths); len(includes) > 0 {
			message = fmt.Sprintf("nothing was restored: the includes (%s) match nothing in the snapshot; they are matched against the full paths in it",
				strings.Join(includes[:min(3, len(includes))], ", "))
		} else if len(options.Excludes) > 0 {
			message = "nothing was restored: the excludes leave nothing of the snapshot"
		}
		return r, &Error{Kind: KindNothingRestored, Command: "restore", ExitCode: o.exitCode, Message: shorten(message), Output: o.stderr}
	case partial && uint64(content) >= r.FilesTotal+r.FilesSkipped:
		return r, &Error{Kind: KindNothingRestored, Command: "restore", ExitCode: o.exitCode, Output: o.stderr,
			Message: shorten(fmt.Sprintf("nothing was restored, all %d items failed: %s", r.Failed.Count, r.Failed.text()))}
	case r.Failed.Count > 0:
		r.CompletedWithErrors = true
		r.Message = shorten(fmt.Sprintf("%d items were not restored, or not fully: %s", r.Failed.Count, r.Failed.text()))
	}
	return r, nil
}
