package restic

import (
	"fmt"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// outcome is everything that is known of a run that ended.
type outcome struct {
	exitCode    int            // -1: ended by a signal
	signal      syscall.Signal // 0: none
	stopped     stopReason
	cause       error  // context.Cause, when stopped for it
	exitMessage string // of restic's exit_error, or its last line on stderr; not redacted, since a weak password would hide what tells the kind
	gaveUp      string // the last "… failed: reason"; not redacted
	crash       string // what the Go runtime said when restic broke down; not redacted
	redact      func(string) string
	last        Retry    // the last attempt in vain
	retrying    bool     // and nothing went well after it
	wasAway     bool     // the repository was out of reach for a while
	stderr      []string // the last lines, redacted
	waited      time.Duration
	killed      bool // by us, since SIGINT was not enough
}

// exitCrashed is the exit code of a Go program that broke down. restic has no such code of its own.
const exitCrashed = 2

// leftLock tells whether restic had no chance to remove its lock.
func (o outcome) leftLock() bool {
	return o.killed || o.crash != "" || o.signal != 0 && o.stopped == notStopped
}

type stopReason int

const (
	notStopped stopReason = iota
	stoppedByContext
	stoppedByDeadline
	stoppedUnreachable
	stoppedSilent
)

// textKinds recognises failures that restic reports with exit code 1 only. The first match counts.
var textKinds = []struct {
	kind    Kind
	pattern *regexp.Regexp
}{
	{KindNoSpace, regexp.MustCompile(`no space left on device|disk quota exceeded|\(507\)|Insufficient Storage`)},
	{KindTLS, regexp.MustCompile(`x509: |\btls: |server gave HTTP response to HTTPS client|certificate (signed by unknown|has expired|is not trusted)`)},
	{KindUnauthorized, regexp.MustCompile(`\((401|403)\)|\b401 Unauthorized|\b403 Forbidden|AccessDenied|Access Denied|InvalidAccessKeyId|SignatureDoesNotMatch|` +
		`AuthenticationFailed|AuthorizationFailure|Permission denied \(publickey|no credentials found`)},
	{KindUnreachable, regexp.MustCompile(`connection refused|no such host|i/o timeout|network is unreachable|no route to host|connection reset by peer|` +
		`connection timed out|TLS handshake timeout|Client\.Timeout|context deadline exceeded|server misbehaving|Temporary failure in name resolution|` +
		`broken pipe|\bEOF\b|\((500|502|503|504)\)|ssh command exited|Could not resolve hostname|server sent GOAWAY`)},
	{KindHalfInitialised, regexp.MustCompile(`repository already contains keys`)},
	{KindNoSuchSnapshot, regexp.MustCompile(`failed to find snapshot|no snapshot found|no matching ID found`)},
	{KindNothingToBackUp, regexp.MustCompile(`all source directories/files do not exist`)},
}

func kindOfText(text string) Kind {
	for _, t := range textKinds {
		if t.pattern.MatchString(text) {
			return t.kind
		}
	}
	return KindFailed
}

// reason is the first line of restic's last word, fit to show.
func (o outcome) reason() string { return o.show(o.exitMessage) }

func (o outcome) show(text string) string {
	if o.redact != nil {
		text = o.redact(text)
	}
	return shorten(firstLine(text))
}

// failure makes the error of a run that did not succeed. It is pure.
func (o outcome) failure(command, repositoryURL string) *Error {
	e := &Error{Command: command, ExitCode: o.exitCode, Output: o.stderr}
	reason := o.reason()
	switch {
	case o.stopped == stoppedByContext:
		e.Kind, e.cause, e.Message = KindCancelled, o.cause, "cancelled"
		return e
	case o.stopped == stoppedByDeadline:
		e.Kind, e.cause, e.Message = KindDeadlineExceeded, o.cause, "stopped: its deadline passed"
		if o.retrying {
			e.Message += fmt.Sprintf(" while it retried (%s)", o.last.Reason)
		}
		return e
	case o.stopped == stoppedSilent:
		e.Kind, reason = KindUnreachable, fmt.Sprintf("no answer within %s", o.waited.Round(time.Second))
	case o.stopped == stoppedUnreachable:
		e.Kind, reason = o.last.Kind, o.last.Reason
		if e.Kind == KindFailed {
			e.Kind = KindUnreachable
		}
	case o.signal != 0:
		e.Kind = KindKilled
		e.Message = fmt.Sprintf("restic was ended by the signal %q, which the agent did not send; somebody killed it, or the machine ran out of memory (see its kernel log)", o.signal)
		return e
	case o.crash != "":
		e.Kind = KindCrashed
		e.Message = fmt.Sprintf("restic broke down (%s), which is a defect of this version of it; it may go well another time, or with another version", o.show(o.crash))
		return e
	case o.exitCode == 10:
		e.Kind = KindNoRepository
	case o.exitCode == 11:
		e.Kind = KindLocked
	case o.exitCode == 12:
		e.Kind = KindWrongPassword
	default:
		e.Kind = kindOfText(o.exitMessage)
		if e.Kind == KindFailed && o.gaveUp != "" {
			// restic's own last word is sometimes less telling than why it gave up.
			if kind := kindOfText(o.gaveUp); kind != KindFailed {
				e.Kind, reason = kind, o.show(o.gaveUp)
			}
		}
	}
	if e.Kind == KindUnauthorized && o.wasAway {
		// The credentials were good before. What a rest-server had stored when it went away, without a word to restic, it refuses with 403 when it comes again.
		e.Kind = KindUnreachable
	}
	e.Message = advice(e.Kind, reason, RedactURL(repositoryURL))
	if e.Message == "" {
		e.Message = fmt.Sprintf("failed with exit code %d and said nothing", o.exitCode)
	}
	return e
}

// advice says what is wrong and what to do, in one line.
func advice(kind Kind, reason, url string) string {
	switch kind {
	case KindNoRepository:
		return fmt.Sprintf("there is no repository at %s; initialise it, or correct the URL", url)
	case KindHalfInitialised:
		return fmt.Sprintf("the repository at %s is half initialised: it has keys and no config, since its init was interrupted; "+
			"nothing can be in it, so remove its keys folder on the server and initialise it again", url)
	case KindLocked:
		return fmt.Sprintf("the repository at %s is locked by another process (%s); try again later, or unlock it when that process is gone", url, reason)
	case KindWrongPassword:
		return fmt.Sprintf("RESTIC_PASSWORD does not open the repository at %s; put the password that it was initialised with into the credentials", url)
	case KindUnauthorized:
		return fmt.Sprintf("the server of %s refused the credentials (%s); check user name, password and path", url, reason)
	case KindUnreachable:
		return fmt.Sprintf("the repository at %s cannot be reached (%s); check the URL, the network and the server", url, reason)
	case KindTLS:
		if strings.Contains(reason, "remote error: tls: ") {
			return fmt.Sprintf("the server of %s refused the client certificate, or the lack of one (%s); put one that it trusts into the credentials", url, reason)
		}
		return fmt.Sprintf("the server of %s is not trusted (%s); check the URL, the server's certificate and the CA bundle", url, reason)
	case KindNoSpace:
		return fmt.Sprintf("no space left (%s)", reason)
	case KindNothingToBackUp:
		return "none of the paths exist, so there is nothing to back up and no snapshot was made"
	default:
		return strings.TrimSpace(reason)
	}
}
