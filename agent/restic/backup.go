package restic

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// Backup makes one snapshot. A result with CompletedWithErrors comes without an error: there is a snapshot, and the result says what it lacks.
func (r *Runner) Backup(ctx context.Context, options BackupOptions, observer Observer) (BackupResult, error) {
	result := BackupResult{ExitCode: -1}
	if err := options.check(); err != nil {
		return result, err
	}
	redact := newRedactor(options.Repository.Environment)
	summary := false
	began := time.Now()
	inv := invocation{
		command: "backup", args: backupArgs(r.Hostname, options), repository: options.Repository, limits: options.Limits, observer: observer, locks: true,
		message: func(m message) {
			switch m.Type {
			case "summary":
				summary = true
				result.fill(m)
			case "error":
				if m.During != "scan" { // the archiver meets it again, and only that one counts
					result.Unreadable.add(shorten(redact.text(m.Item)), shorten(redact.text(m.Error.Message)))
				}
			}
		},
		plain: func(line string) {
			if path, ok := missingPath(line); ok {
				result.Missing.add(shorten(redact.text(path)), missingMessage(line, path))
			}
		},
	}
	var dump *commandWatch
	if len(options.Command) > 0 {
		if err := options.checkCommand(r.DumpHelper); err != nil {
			return result, err
		}
		dump = &commandWatch{}
		inv.args, inv.variables, inv.report = commandArgs(r.Hostname, r.DumpHelper, options), options.CommandEnv, dump.read
	}
	o, err := r.run(ctx, inv)
	if err != nil {
		return result, err
	}
	result.ExitCode = o.exitCode
	if result.Duration == 0 {
		result.Duration = time.Since(began)
	}
	result, err = result.judge(o, summary, options.Repository.URL)
	if failure, ok := err.(*Error); ok && dump != nil {
		return result, dump.judge(failure, o)
	}
	return result, err
}

func (b *BackupResult) fill(m message) {
	b.SnapshotID = m.SnapshotID
	b.FilesNew, b.FilesChanged, b.FilesUnmodified = m.FilesNew, m.FilesChanged, m.FilesUnmodified
	b.DirsNew, b.DirsChanged, b.DirsUnmodified = m.DirsNew, m.DirsChanged, m.DirsUnmodified
	b.TotalFiles, b.TotalBytes = m.TotalFilesProcessed, m.TotalBytesProcessed
	b.BytesAdded, b.BytesStored = m.DataAdded, m.DataAddedPacked
	b.Started = m.BackupStart
	b.Duration = time.Duration(m.TotalDuration * float64(time.Second))
}

func missingMessage(line, path string) string {
	message := strings.TrimSuffix(strings.TrimPrefix(line, path+" "), ", skipping")
	if strings.ContainsAny(path, "*?[") {
		message += " (globs are not expanded in the paths of a backup; name the folder, and use excludes)"
	}
	return message
}

// judge decides, from everything together, how the backup went. The receiver is the result as read from the output.
func (b BackupResult) judge(o outcome, summary bool, url string) (BackupResult, error) {
	switch {
	case o.stopped == notStopped && (o.exitCode == 0 || o.exitCode == 3) && summary:
	case o.stopped == notStopped && o.exitCode == 0:
		return b, &Error{Kind: KindFailed, Command: "backup", ExitCode: 0, Output: o.stderr,
			Message: "restic ended well without a summary, so nobody can tell what it did; look at the log"}
	default:
		failure := o.failure("backup", url)
		if failure.Kind == KindNothingToBackUp && b.Missing.Count > 0 {
			failure.Message += ": " + b.Missing.text()
		}
		return b, failure
	}
	var parts []string
	if b.Missing.Count > 0 {
		parts = append(parts, fmt.Sprintf("%d of the paths missing: %s", b.Missing.Count, b.Missing.text()))
	}
	if b.Unreadable.Count > 0 {
		what := "files or folders"
		if b.Unreadable.Count == 1 {
			what = "file or folder"
		}
		parts = append(parts, fmt.Sprintf("%d %s could not be read: %s", b.Unreadable.Count, what, b.Unreadable.text()))
	}
	if o.exitCode == 3 && len(parts) == 0 {
		parts = append(parts, "restic says that some source could not be read: "+o.reason())
	}
	b.CompletedWithErrors, b.Message = len(parts) > 0, shorten(strings.Join(parts, "; "))
	return b, nil
}

// text names the first three.
func (f Failures) text() string {
	var parts []string
	for _, failure := range f.First[:min(3, len(f.First))] {
		item, message := failure.Item, failure.Message
		if item != "" && !strings.Contains(message, item) {
			message = item + ": " + message
		}
		parts = append(parts, message)
	}
	if f.Count > len(parts) {
		parts = append(parts, fmt.Sprintf("and %d more", f.Count-len(parts)))
	}
	return strings.Join(parts, "; ")
}
