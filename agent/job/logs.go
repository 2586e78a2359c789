package job

import (
	"bufio"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/restic-manager/restic-manager/agent/atomicfile"
	"github.com/restic-manager/restic-manager/api/wire"
)

const (
	// maxLogFile bounds one job's log.
	maxLogFile = 32 << 20
	logSuffix  = ".log"
)

// logs is the folder of the jobs' logs.
type logs struct {
	dir      string
	maxFiles int
	maxBytes int64
	logger   *slog.Logger

	mu sync.Mutex
	// open are the logs that are being written, by job id.
	open map[string]*logFile
}

func openLogs(dir string, maxFiles int, maxBytes int64, logger *slog.Logger) (*logs, error) {
	if err := atomicfile.MkdirAll(dir); err != nil {
		return nil, err
	}
	return &logs{dir: dir, maxFiles: maxFiles, maxBytes: maxBytes, logger: logger, open: map[string]*logFile{}}, nil
}

func (l *logs) path(id string) string { return filepath.Join(l.dir, id+logSuffix) }

// create begins a job's log. A disk that refuses costs the log, not the job: the tail is kept in memory in any case.
func (l *logs) create(id string) *logFile {
	f := &logFile{}
	file, err := os.OpenFile(l.path(id), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		l.logger.Warn("the log of a job cannot be written", "job", id, "error", err)
		return f
	}
	f.file, f.buffer = file, bufio.NewWriter(file)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open[id] = f
	return f
}

// close ends a job's log: all of it is on disk then.
func (l *logs) close(id string, f *logFile) error {
	err := f.close()
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.open, id)
	return err
}

// flush puts what a job's log holds by now within reach of readers. Its error is told by the one who writes.
func (l *logs) flush(id string) {
	l.mu.Lock()
	f := l.open[id]
	l.mu.Unlock()
	if f != nil {
		_ = f.flush()
	}
}

// tail is the end of a log on disk; empty when there is none.
func (l *logs) tail(id string) string {
	f, err := os.Open(l.path(id))
	if err != nil {
		return ""
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return ""
	}
	raw, err := io.ReadAll(io.NewSectionReader(f, max(0, info.Size()-2*wire.MaxLogTail), 2*wire.MaxLogTail))
	if err != nil {
		return ""
	}
	return cutTail(string(raw), info.Size() > 2*wire.MaxLogTail)
}

// prune removes the oldest logs beyond the bounds; those of jobs that keep says are in use stay.
func (l *logs) prune(keep func(id string) bool) {
	files, err := os.ReadDir(l.dir)
	if err != nil {
		l.logger.Warn("the folder of the logs cannot be read", "error", err)
		return
	}
	type log struct {
		name string
		size int64
		time time.Time
	}
	var all []log
	for _, f := range files {
		id, ok := strings.CutSuffix(f.Name(), logSuffix)
		info, err := f.Info()
		if !ok || err != nil || !info.Mode().IsRegular() || keep(id) {
			continue
		}
		all = append(all, log{f.Name(), info.Size(), info.ModTime()})
	}
	slices.SortFunc(all, func(a, b log) int { return b.time.Compare(a.time) })
	var total int64
	for i, f := range all {
		total += f.size
		if i < l.maxFiles && total <= l.maxBytes {
			continue
		}
		if err := os.Remove(filepath.Join(l.dir, f.name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			l.logger.Warn("an old log cannot be removed", "file", f.name, "error", err)
		}
	}
}

// logFile is one job's log. One goroutine at a time writes; others may flush.
type logFile struct {
	mu     sync.Mutex
	file   *os.File
	buffer *bufio.Writer
	size   int64
	full   bool
	recent []byte // the end, at most 4 × MaxLogTail
	cut    bool   // recent does not begin at the beginning
}

func (f *logFile) line(at time.Time, mark, text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	line := at.UTC().Format("2006-01-02T15:04:05.000Z") + " " + mark + strings.ToValidUTF8(text, "\uFFFD") + "\n"
	f.keep(line)
	if f.buffer == nil || f.full {
		return
	}
	if f.size+int64(len(line)) > maxLogFile {
		f.full = true
		line = at.UTC().Format("2006-01-02T15:04:05.000Z") + " (the log ends here: it is over its limit)\n"
	}
	f.size += int64(len(line))
	_, _ = f.buffer.WriteString(line) // its error comes again at flush
}

func (f *logFile) keep(line string) {
	if n := len(line) - wire.MaxLogTail; n > 0 {
		line = line[n:]
		f.recent, f.cut = f.recent[:0], true
	}
	f.recent = append(f.recent, line...)
	if n := len(f.recent) - 2*wire.MaxLogTail; n > wire.MaxLogTail {
		f.recent, f.cut = append(f.recent[:0], f.recent[n:]...), true
	}
}

func (f *logFile) tail() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return cutTail(string(f.recent), f.cut)
}

// flush puts what was written within reach of readers, and of the next process should this one be killed.
func (f *logFile) flush() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.buffer == nil {
		return nil
	}
	return f.buffer.Flush()
}

func (f *logFile) close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.file == nil {
		return nil
	}
	return errors.Join(f.buffer.Flush(), f.file.Close())
}

// cutTail is the end of text, at most MaxLogTail bytes, from the beginning of a line where one is near.
func cutTail(text string, cut bool) string {
	if len(text) > wire.MaxLogTail {
		text, cut = text[len(text)-wire.MaxLogTail:], true
	}
	if !cut {
		return text
	}
	if i := strings.IndexByte(text, '\n'); i >= 0 && i < len(text)-1 {
		return text[i+1:]
	}
	for len(text) > 0 && !utf8.RuneStart(text[0]) {
		text = text[1:]
	}
	return text
}
