package restic

import "time"

// Observer hears what a run does while it does it. All calls of one run come from one goroutine, in order, and none after the run's method
// has returned (but for an observer that blocked for longer than observerPatience). A nil Observer is allowed everywhere.
type Observer interface {
	// Progress comes at most once a second.
	Progress(Progress)
	// Retrying comes when restic could not reach the repository, each time before it tries again, and once with Recovered when it went well.
	Retrying(Retry)
	// Line comes for each line worth a job's log, secrets redacted.
	Line(Line)
}

// Progress of a backup or restore.
type Progress struct {
	// Fraction done, 0 to 1. A backup's reaches 1 while the upload goes on. It can fall while restic still finds files.
	Fraction              float64
	FilesDone, FilesTotal uint64
	BytesDone, BytesTotal uint64
	// Errors so far.
	Errors uint64
	// Elapsed since restic began, Remaining as it estimates (0: unknown).
	Elapsed, Remaining time.Duration
}

// Retry tells that the run waits for something that may get better.
type Retry struct {
	// Kind is KindUnreachable, KindTLS, KindUnauthorized or KindFailed (the storage answered with some other error).
	Kind Kind
	// Reason in one line, fit to show.
	Reason string
	// Since is when waiting began, Attempts how often it was tried in vain since.
	Since    time.Time
	Attempts int
	// Next is the time until the next attempt.
	Next time.Duration
	// Recovered is true when it worked again; all else but Since is empty then.
	Recovered bool
}

// Line of a job's log.
type Line struct {
	Time time.Time
	// Error is true for what restic wrote to stderr.
	Error bool
	Text  string
}
