package restic

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// readStdout reads restic's stdout to its end, whatever happens.
func (x *run) readStdout(r io.Reader) {
	if x.inv.stdout == nil {
		readLines(r, MaxLine, x.stdoutLine)
		return
	}
	if err := x.inv.stdout(r); err != nil {
		x.mu.Lock()
		x.exitMessage = "cannot read restic's output: " + err.Error()
		x.mu.Unlock()
	}
	_, _ = io.Copy(io.Discard, r)
}

func (x *run) stdoutLine(line []byte) { x.line(line, false) }
func (x *run) stderrLine(line []byte) { x.line(line, true) }

// reportLine handles one line of what a program started by restic reports.
func (x *run) reportLine(raw []byte) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.inv.report(raw, func(text string) { x.log(time.Now(), true, text) })
}

// line handles one line of either pipe.
func (x *run) line(raw []byte, isError bool) {
	if len(raw) == 0 {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	now := time.Now()
	x.lastOutput = now
	if m, ok := parseMessage(raw); ok {
		x.jsonMessage(m, now)
		return
	}
	x.plainLine(string(raw), isError, now)
}

func (x *run) jsonMessage(m message, now time.Time) {
	switch m.Type {
	case "status":
		p := m.progress()
		x.progressed(p)
		x.dispatcher.post(event{progress: &p})
	case "exit_error":
		x.exitMessage = m.Message
		x.log(now, true, firstLine(m.Message))
	case "error":
		if m.Message != "" && m.Error.Message == "" {
			// `check` wraps what other commands print as text, notices of retries among it (0.19).
			for line := range strings.Lines(m.Message) {
				if line = strings.TrimSpace(line); line != "" {
					x.plainLine(line, true, now)
				}
			}
			return
		}
		x.log(now, true, strings.TrimSpace(fmt.Sprintf("error: %s: %s", m.Item, m.Error.Message)))
		x.deliver(m)
	case "verbose_status":
		if m.Item != "" {
			x.log(now, false, m.Action+" "+m.Item)
		}
	case "summary":
		x.log(now, false, summaryText(x.inv.command, m))
		x.deliver(m)
	case "initialized":
		x.log(now, false, "repository initialised")
		x.deliver(m)
	default:
		x.deliver(m)
	}
}

func (x *run) deliver(m message) {
	if x.inv.message != nil {
		x.inv.message(m)
	}
}

func (x *run) plainLine(line string, isError bool, now time.Time) {
	if m := counterText.FindStringSubmatch(line); x.inv.counter && !isError && m != nil {
		x.count(m)
		return
	}
	if !isError && x.inv.output != nil {
		if x.inv.output(line) {
			x.log(now, false, line)
		}
		return
	}
	x.log(now, isError, line)
	if !isError {
		return
	}
	switch {
	case x.crash == "" && crashText.MatchString(line):
		x.crash = line // and a stack follows
	case x.inv.text && strings.HasPrefix(line, "Fatal: "):
		x.exitMessage = line // what follows is a hint
	case signalText.MatchString(line):
	case recoveredText.MatchString(line):
		if retry, ok := x.watch.recovered(); ok {
			x.dispatcher.post(event{retry: &retry})
		}
	case retryText.MatchString(line):
		x.retrying(line, now)
	case gaveUpText.MatchString(line):
		x.gaveUp = gaveUpText.FindStringSubmatch(line)[1]
	default:
		if x.inv.plain != nil {
			x.inv.plain(line)
		}
	}
}

// count makes Progress of a counter in text. A count that grows is a sign of life.
func (x *run) count(m []string) {
	percent, _ := strconv.ParseFloat(m[1], 64)
	done, _ := strconv.ParseUint(m[2], 10, 64)
	total, _ := strconv.ParseUint(m[3], 10, 64)
	p := Progress{Fraction: min(max(percent/100, 0), 1), FilesDone: done, FilesTotal: total}
	x.progressed(p)
	x.dispatcher.post(event{progress: &p})
}

// retrying handles "Stat(<config/>) returned error, retrying after 1.2s: reason".
func (x *run) retrying(line string, now time.Time) {
	m := retryText.FindStringSubmatch(line)
	next, _ := time.ParseDuration(m[2])
	kind := kindOfText(m[3])
	retry := x.watch.failed(now, kind, shorten(x.redact.text(m[3])), next)
	x.dispatcher.post(event{retry: &retry})
	if x.watch.expired(now) {
		x.stopLocked(stoppedUnreachable)
		return
	}
	// restic waits ever longer between its attempts; a timer gives up in time.
	if x.watch.limit > 0 && x.watch.attempts == 1 {
		if x.timer != nil {
			x.timer.Stop()
		}
		x.timer = time.AfterFunc(x.watch.limit, x.giveUpIfExpired)
	}
}

func (x *run) giveUpIfExpired() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.watch.expired(time.Now()) {
		x.stopLocked(stoppedUnreachable)
	}
}

func (x *run) progressed(p Progress) {
	if retry, ok := x.watch.progressed(p); ok {
		x.dispatcher.post(event{retry: &retry})
	}
}

// log passes a line on, redacted, and keeps the last ones of stderr for the error.
func (x *run) log(now time.Time, isError bool, text string) {
	text = x.redact.text(text)
	if isError {
		if len(x.stderr) == MaxNamed {
			x.stderr = append(x.stderr[:0], x.stderr[1:]...)
		}
		x.stderr = append(x.stderr, shorten(text))
	}
	x.dispatcher.post(event{line: &Line{Time: now, Error: isError, Text: text}})
}

// maxMessage bounds what is kept of a line in results, errors and events.
const maxMessage = 1024

func shorten(text string) string {
	if len(text) <= maxMessage {
		return text
	}
	return strings.ToValidUTF8(text[:maxMessage], "") + " …"
}

func summaryText(command string, m message) string {
	switch command {
	case "check":
		return fmt.Sprintf("summary: %d errors", m.NumErrors)
	case "backup":
		id := "no snapshot was made"
		if m.SnapshotID != "" {
			id = "snapshot " + m.SnapshotID[:min(8, len(m.SnapshotID))]
		}
		return fmt.Sprintf("%s: %d files (%d new, %d changed, %d unmodified), %d bytes, %d bytes added, %d stored, %.1f s",
			id, m.TotalFilesProcessed, m.FilesNew, m.FilesChanged, m.FilesUnmodified, m.TotalBytesProcessed, m.DataAdded, m.DataAddedPacked, m.TotalDuration)
	}
	return fmt.Sprintf("summary: %d items restored of %d, %d skipped, %d bytes restored of %d", m.FilesRestored, m.TotalFiles, m.FilesSkipped, m.BytesRestored, m.TotalBytes)
}
