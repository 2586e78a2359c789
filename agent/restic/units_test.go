package restic

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestLinesAreCutAtTheLimitAndReadToTheEnd(t *testing.T) {
	for _, test := range []struct {
		name, in string
		want     []string
	}{
		{"nothing", "", nil},
		{"lines", "a\nb\n", []string{"a", "b"}},
		{"no break at the end", "a\nb", []string{"a", "b"}},
		{"carriage returns", "\ra \r\n", []string{"a"}},
		{"exactly the limit", "12345678\nb\n", []string{"12345678", "b"}},
		{"one over the limit", "123456789\nb\n", []string{"12345678" + cutMark, "b"}},
		{"longer than the read buffer", strings.Repeat("x", 300<<10) + "\nb\n", []string{"xxxxxxxx" + cutMark, "b"}},
		{"too long at the end", strings.Repeat("x", 300<<10), []string{"xxxxxxxx" + cutMark}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var got []string
			in := strings.NewReader(test.in)
			readLines(in, 8, func(line []byte) { got = append(got, string(line)) })
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
			if in.Len() != 0 {
				t.Errorf("%d bytes were left unread", in.Len())
			}
		})
	}
}

func TestRetryWatch(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(s int) time.Time { return start.Add(time.Duration(s) * time.Second) }
	w := retryWatch{limit: 10 * time.Second}
	if w.expired(at(100)) {
		t.Fatal("expired without a failure")
	}
	w.failed(at(0), KindUnreachable, "x", time.Second)
	if got := w.failed(at(5), KindUnreachable, "x", time.Second); got.Attempts != 2 || !got.Since.Equal(at(0)) {
		t.Error("the second attempt:", got)
	}
	if w.expired(at(9)) || !w.expired(at(10)) {
		t.Error("expires at the wrong time")
	}
	if _, ok := w.progressed(Progress{}); ok || !w.expired(at(10)) {
		t.Error("a status without progress counts as life")
	}
	if r, ok := w.progressed(Progress{BytesDone: 1}); !ok || !r.Recovered || w.expired(at(100)) {
		t.Error("progress does not count as life")
	}
	w.failed(at(200), KindUnreachable, "x", 0)
	if _, ok := w.recovered(); !ok || w.expired(at(300)) {
		t.Error("a success does not count as life")
	}
	if _, ok := w.recovered(); ok {
		t.Error("recovered from nothing")
	}
	for i := range permanentAttempts {
		if w.expired(at(301)) {
			t.Error("gave up on the certificate after attempt", i)
		}
		w.failed(at(301), KindTLS, "x509", 0)
	}
	if !w.expired(at(301)) {
		t.Error("an untrusted certificate is retried for ever")
	}
	never := retryWatch{}
	never.failed(at(0), KindUnreachable, "x", 0)
	if never.expired(at(1_000_000)) {
		t.Error("a limit of 0 gives up")
	}
}

func TestTextTellsTheKindWhereTheExitCodeDoesNot(t *testing.T) {
	for text, want := range map[string]Kind{
		"unexpected HTTP response (401): 401 Unauthorized":                                                    KindUnauthorized,
		"unexpected HTTP response (403): 403 Forbidden":                                                       KindUnauthorized,
		"client.MakeBucket: Access Denied":                                                                    KindUnauthorized,
		`Head "https://h/": tls: failed to verify certificate: x509: certificate signed by unknown authority`: KindTLS,
		`Head "https://h/": http: server gave HTTP response to HTTPS client`:                                  KindTLS,
		"dial tcp 127.0.0.1:1: connect: connection refused":                                                   KindUnreachable,
		"dial tcp: lookup h: no such host":                                                                    KindUnreachable,
		"net/http: TLS handshake timeout":                                                                     KindUnreachable,
		"unexpected HTTP response (502): 502 Bad Gateway":                                                     KindUnreachable,
		"write /tmp/x: no space left on device":                                                               KindNoSpace,
		"failed to find snapshot: no matching ID found for prefix":                                            KindNoSuchSnapshot,
		"something new": KindFailed,
	} {
		if got := kindOfText(text); got != want {
			t.Errorf("%q is %s, want %s", text, got, want)
		}
	}
}

func TestOutcomes(t *testing.T) {
	cause := errors.New("asked by a person")
	for _, test := range []struct {
		name string
		o    outcome
		want Kind
		text string
	}{
		{"cancelled wins over what restic says", outcome{stopped: stoppedByContext, cause: cause, exitCode: 0}, KindCancelled, "cancelled"},
		{"the deadline", outcome{stopped: stoppedByDeadline, exitCode: 130, retrying: true, last: Retry{Reason: "refused"}}, KindDeadlineExceeded, "retried (refused)"},
		{"unreachable", outcome{stopped: stoppedUnreachable, exitCode: 130, last: Retry{Kind: KindUnreachable, Reason: "refused"}}, KindUnreachable, "refused"},
		{"unreachable for an unknown reason", outcome{stopped: stoppedUnreachable, last: Retry{Kind: KindFailed, Reason: "odd"}}, KindUnreachable, "odd"},
		{"silent", outcome{stopped: stoppedSilent, waited: time.Minute}, KindUnreachable, "no answer within 1m0s"},
		{"killed by somebody", outcome{exitCode: -1, signal: 9}, KindKilled, "out of memory"},
		{"broke down", outcome{exitCode: 2, crash: "fatal error: concurrent map writes", exitMessage: "\truntime/proc.go:1", gaveUp: "403 Forbidden"}, KindCrashed, "concurrent map writes"},
		{"exit code 130 that nobody asked for", outcome{exitCode: 130, exitMessage: "context canceled"}, KindFailed, "context canceled"},
		{"an unknown exit code", outcome{exitCode: 77}, KindFailed, "77"},
		{"a Go stack keeps its first line", outcome{exitCode: 1, exitMessage: "broken\ngoroutine 1\nmain.go:3"}, KindFailed, "broken"},
		{"refused", outcome{exitCode: 1, exitMessage: "Fatal: unable to save snapshot: unexpected HTTP response (403): 403 Forbidden"}, KindUnauthorized, "refused the credentials"},
		{"refused what was sent again after an outage", outcome{exitCode: 1, exitMessage: "Fatal: unable to save snapshot: unexpected HTTP response (403): 403 Forbidden", wasAway: true},
			KindUnreachable, "(403)"},
		{"the reason it gave up", outcome{exitCode: 1, exitMessage: "Fatal: unable to save", gaveUp: "dial: connection refused"}, KindUnreachable, "connection refused"},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := test.o.failure("backup", "rest:https://u:pw@h/x")
			if err.Kind != test.want || !strings.Contains(err.Message, test.text) || strings.ContainsAny(err.Message, "\n") || strings.Contains(err.Message, "pw@") {
				t.Errorf("got %s: %q", err.Kind, err.Message)
			}
		})
	}
	err := error(outcome{stopped: stoppedByContext, cause: cause}.failure("backup", "/x"))
	if !errors.Is(err, ErrCancelled) || !errors.Is(err, cause) || errors.Is(err, ErrLocked) || KindOf(err) != KindCancelled {
		t.Error("errors.Is does not work on", err)
	}
}

func TestVersions(t *testing.T) {
	for _, test := range []struct{ out, version string }{
		{`{"message_type":"version","version":"0.19.1","go_version":"go1.26"}`, "0.19.1"},
		{"restic 0.18.1 compiled with go1.25 on linux/amd64\n", "0.18.1"},
		{"restic 0.18.1-dev (compiled manually) compiled with go1.25\n", "0.18.1-dev"},
		{"GNU tar 1.3", ""},
		{`{"version":"soon"}`, ""},
	} {
		got, err := parseVersion([]byte(test.out))
		if got != test.version || (err != nil) != (test.version == "") {
			t.Errorf("%q: got %q, %v", test.out, got, err)
		}
	}
	for version, want := range map[string]bool{"0.17.3": true, "0.18.0": false, "0.18.1-dev": false, "0.19.1": false, "1.0.0": false, "x": true} {
		if older(version, MinimumVersion) != want {
			t.Errorf("older(%s) is not %v", version, want)
		}
	}
}

func TestFindRefusesWhatItCannotUse(t *testing.T) {
	script := func(body string) string {
		path := filepath.Join(t.TempDir(), "restic")
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+body+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, test := range []struct{ name, path, want string }{
		{"missing", "/nonexistent/restic", "no executable"},
		{"too old", script("echo 'restic 0.16.4 compiled with go'"), "0.18.0 or newer is needed"},
		{"something else", script("echo hello"), "does not look like restic"},
		{"broken", script("echo oops >&2; exit 3"), "oops"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := Find(context.Background(), test.path)
			if KindOf(err) != KindNotStarted || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
	t.Setenv("PATH", t.TempDir())
	if _, err := Find(context.Background(), ""); err == nil || !strings.Contains(err.Error(), "$PATH") {
		t.Error("no restic in $PATH gives", err)
	}
}

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// recorder is an Observer that keeps everything.
type recorder struct {
	mu       sync.Mutex
	progress []Progress
	retries  []Retry
	lines    []Line
	onRetry  func(Retry)
	onStatus func(Progress)
}

func (r *recorder) Progress(p Progress) {
	r.mu.Lock()
	r.progress = append(r.progress, p)
	hook := r.onStatus
	r.mu.Unlock()
	if hook != nil {
		hook(p)
	}
}

func (r *recorder) Retrying(retry Retry) {
	r.mu.Lock()
	r.retries = append(r.retries, retry)
	hook := r.onRetry
	r.mu.Unlock()
	if hook != nil {
		hook(retry)
	}
}

func (r *recorder) Line(l Line) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, l)
}

func (r *recorder) text() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out strings.Builder
	for _, l := range r.lines {
		out.WriteString(l.Text + "\n")
	}
	return out.String()
}

type observerFunc func(Line)

func (observerFunc) Progress(Progress) {}
func (observerFunc) Retrying(Retry)    {}
func (f observerFunc) Line(l Line)     { f(l) }

func TestABlockedObserverLosesLinesAndBlocksNobody(t *testing.T) {
	release, first := make(chan struct{}), true
	var got []string
	d := newDispatcher(observerFunc(func(l Line) {
		if first {
			first = false
			<-release
		}
		got = append(got, l.Text)
	}), quiet())
	const posted = queueLength + 100
	for range posted {
		d.post(event{line: &Line{Text: "x"}})
	}
	d.post(event{line: &Line{Text: strings.Repeat("y", queueBytes)}})
	close(release)
	d.close(observerPatience)
	last := got[len(got)-1]
	if len(got) > queueLength+2 || !strings.Contains(strings.Join(got, "\n"), "lines are missing here") {
		t.Errorf("%d lines came, the last is %q", len(got), last)
	}
}

func TestAStuckObserverIsLeftBehind(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	d := newDispatcher(observerFunc(func(Line) { <-release }), quiet())
	d.post(event{line: &Line{Text: "x"}})
	d.close(time.Millisecond) // returns
}

func TestAPanickingObserverIsNotCalledAgain(t *testing.T) {
	calls := 0
	d := newDispatcher(observerFunc(func(Line) { calls++; panic("oops") }), quiet())
	for range 3 {
		d.post(event{line: &Line{Text: "x"}})
	}
	d.close(observerPatience)
	if calls != 1 {
		t.Errorf("called %d times", calls)
	}
}
