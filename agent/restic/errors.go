package restic

import (
	"errors"
	"fmt"
	"strings"
)

// Kind says what went wrong, for programs. The values are stable: they travel in reports.
type Kind string

const (
	// KindFailed is any failure that is none of the others, an unknown exit code among them.
	KindFailed Kind = "Failed"
	// KindInvalid means that the options or the repository were refused before restic was started.
	KindInvalid Kind = "Invalid"
	// KindNotStarted means that restic, or a file that it needs, could not be found, made or started.
	KindNotStarted Kind = "NotStarted"
	// KindNoRepository means that there is no repository at the URL.
	KindNoRepository Kind = "NoRepository"
	// KindHalfInitialised means that a repository has keys and no config: an init was interrupted. It never gets better by itself.
	KindHalfInitialised Kind = "HalfInitialised"
	// KindLocked means that somebody else's lock outlasted the wait for it. Later may work; Unlock removes a stale one.
	KindLocked Kind = "Locked"
	// KindWrongPassword means that no key of the repository opens with RESTIC_PASSWORD.
	KindWrongPassword Kind = "WrongPassword"
	// KindUnauthorized means that the server refused the backend's credentials (HTTP 401 or 403, S3 AccessDenied, …).
	KindUnauthorized Kind = "Unauthorized"
	// KindUnreachable means that the server could not be reached, or did not answer.
	KindUnreachable Kind = "Unreachable"
	// KindTLS means that the server was reached, and its certificate not trusted.
	KindTLS Kind = "TLS"
	// KindNoSuchSnapshot means that the snapshot to restore does not exist.
	KindNoSuchSnapshot Kind = "NoSuchSnapshot"
	// KindNothingToBackUp means that none of the paths exist. No snapshot was made.
	KindNothingToBackUp Kind = "NothingToBackUp"
	// KindNothingRestored means that the includes match nothing in the snapshot, or every file failed.
	KindNothingRestored Kind = "NothingRestored"
	// KindForgetRefused means that forget chose snapshots which the repository would not let go: its server is append-only, and these are not admin credentials.
	KindForgetRefused Kind = "ForgetRefused"
	// KindDamaged means that a check found the repository damaged. Trying again does not help; a person must repair it.
	KindDamaged Kind = "Damaged"
	// KindCommandFailed means that the command whose output was to be backed up failed, or could not be started. No snapshot was made.
	KindCommandFailed Kind = "CommandFailed"
	// KindCommandEmpty means that this command ended well and printed nothing. No snapshot was made.
	KindCommandEmpty Kind = "CommandEmpty"
	// KindNoSpace means that a disk was full: the target's, the repository's or that of the temporary files.
	KindNoSpace Kind = "NoSpace"
	// KindCancelled means that the context was cancelled, whatever restic said then.
	KindCancelled Kind = "Cancelled"
	// KindDeadlineExceeded means that the context's deadline passed.
	KindDeadlineExceeded Kind = "DeadlineExceeded"
	// KindKilled means that somebody else ended restic with a signal: a person, or the kernel when memory ran out.
	KindKilled Kind = "Killed"
	// KindCrashed means that restic broke down by a defect of its own. Another run may go well.
	KindCrashed Kind = "Crashed"
)

// Sentinels for errors.Is: each matches every *Error of its kind.
var (
	ErrNoRepository    = &Error{Kind: KindNoRepository}
	ErrHalfInitialised = &Error{Kind: KindHalfInitialised}
	ErrLocked          = &Error{Kind: KindLocked}
	ErrWrongPassword   = &Error{Kind: KindWrongPassword}
	ErrUnauthorized    = &Error{Kind: KindUnauthorized}
	ErrUnreachable     = &Error{Kind: KindUnreachable}
	ErrTLS             = &Error{Kind: KindTLS}
	ErrNoSuchSnapshot  = &Error{Kind: KindNoSuchSnapshot}
	ErrNothingToBackUp = &Error{Kind: KindNothingToBackUp}
	ErrNothingRestored = &Error{Kind: KindNothingRestored}
	ErrForgetRefused   = &Error{Kind: KindForgetRefused}
	ErrDamaged         = &Error{Kind: KindDamaged}
	ErrCommandFailed   = &Error{Kind: KindCommandFailed}
	ErrCommandEmpty    = &Error{Kind: KindCommandEmpty}
	ErrCancelled       = &Error{Kind: KindCancelled}
	ErrCrashed         = &Error{Kind: KindCrashed}
	ErrDeadline        = &Error{Kind: KindDeadlineExceeded}
	ErrInvalid         = &Error{Kind: KindInvalid}
)

// Error is what every method returns when it fails. It is safe to show: secrets are redacted.
type Error struct {
	Kind Kind
	// Command is restic's subcommand ("backup"); empty when nothing was started.
	Command string
	// ExitCode of restic, -1 when it was ended by a signal or never started. 0 is possible: see the package documentation.
	ExitCode int
	// Message is for a person: what is wrong, and what to do. One line.
	Message string
	// Output holds the last lines of restic's stderr, at most MaxNamed.
	Output []string

	cause error
}

func (e *Error) Error() string {
	message := e.Message
	if message == "" {
		message = string(e.Kind)
	}
	if e.Command == "" {
		return message
	}
	return fmt.Sprintf("restic %s: %s", e.Command, message)
}

// Unwrap gives the cause of a cancellation (context.Cause) or of a failure to start.
func (e *Error) Unwrap() error { return e.cause }

// Is matches the sentinels: an *Error that has nothing but a kind.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Kind == e.Kind && t.Message == "" && t.Command == ""
}

// KindOf returns the kind of an error of this package, KindFailed for any other error, and "" for nil.
func KindOf(err error) Kind {
	if err == nil {
		return ""
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return KindFailed
}

// firstLine of a message of restic: the rest is a hint for the command line, or a Go stack.
func firstLine(text string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	for strings.HasPrefix(line, "Fatal: ") {
		line = strings.TrimPrefix(line, "Fatal: ")
	}
	return strings.TrimSpace(line)
}
