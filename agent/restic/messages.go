package restic

import (
	"encoding/json"
	"regexp"
	"strings"
	"time"
)

// message is any line of restic's JSON output; the fields are those of all message types of backup, restore and init together.
type message struct {
	Type string `json:"message_type"`

	// status and summary
	SecondsElapsed   uint64  `json:"seconds_elapsed"`
	SecondsRemaining uint64  `json:"seconds_remaining"`
	PercentDone      float64 `json:"percent_done"`
	TotalFiles       uint64  `json:"total_files"`
	FilesDone        uint64  `json:"files_done"`
	TotalBytes       uint64  `json:"total_bytes"`
	BytesDone        uint64  `json:"bytes_done"`
	ErrorCount       uint64  `json:"error_count"`
	FilesRestored    uint64  `json:"files_restored"`
	FilesSkipped     uint64  `json:"files_skipped"`
	BytesRestored    uint64  `json:"bytes_restored"`
	BytesSkipped     uint64  `json:"bytes_skipped"`

	// summary of a backup
	FilesNew            uint64  `json:"files_new"`
	FilesChanged        uint64  `json:"files_changed"`
	FilesUnmodified     uint64  `json:"files_unmodified"`
	DirsNew             uint64  `json:"dirs_new"`
	DirsChanged         uint64  `json:"dirs_changed"`
	DirsUnmodified      uint64  `json:"dirs_unmodified"`
	DataAdded           uint64  `json:"data_added"`
	DataAddedPacked     uint64  `json:"data_added_packed"`
	TotalFilesProcessed uint64  `json:"total_files_processed"`
	TotalBytesProcessed uint64  `json:"total_bytes_processed"`
	TotalDuration       float64 `json:"total_duration"`
	SnapshotID          string  `json:"snapshot_id"`

	BackupStart time.Time `json:"backup_start"`

	// summary of a check
	NumErrors          int      `json:"num_errors"`
	BrokenPacks        []string `json:"broken_packs"`
	SuggestRepairIndex bool     `json:"suggest_repair_index"`
	SuggestPrune       bool     `json:"suggest_prune"`

	// verbose_status, error, exit_error
	Action  string       `json:"action"`
	Item    string       `json:"item"`
	During  string       `json:"during"`
	Error   errorMessage `json:"error"`
	Code    int          `json:"code"`
	Message string       `json:"message"`
}

type errorMessage struct {
	Message string `json:"message"`
}

// parseMessage returns a JSON message, or false for plain text.
func parseMessage(line []byte) (message, bool) {
	if len(line) < 2 || line[0] != '{' {
		return message{}, false
	}
	var m message
	if err := json.Unmarshal(line, &m); err != nil || m.Type == "" {
		return message{}, false
	}
	return m, true
}

// progress of a status message, of a backup (done) or a restore (restored and skipped).
func (m message) progress() Progress {
	return Progress{
		Fraction:   min(max(m.PercentDone, 0), 1),
		FilesDone:  m.FilesDone + m.FilesRestored + m.FilesSkipped,
		FilesTotal: m.TotalFiles,
		BytesDone:  m.BytesDone + m.BytesRestored + m.BytesSkipped,
		BytesTotal: m.TotalBytes,
		Errors:     m.ErrorCount,
		Elapsed:    time.Duration(m.SecondsElapsed) * time.Second,
		Remaining:  time.Duration(m.SecondsRemaining) * time.Second,
	}
}

// Plain text that restic prints even with --json, the same in 0.18.1 and 0.19.1.
var (
	retryText     = regexp.MustCompile(`^(\w+\(.*?\)) returned error, retrying after ([0-9.a-zµ]+): (.*)$`)
	recoveredText = regexp.MustCompile(`^\w+\(.*\) operation successful after [0-9]+ retries$`)
	crashText     = regexp.MustCompile(`^(fatal error|panic): `) // of the Go runtime
	gaveUpText    = regexp.MustCompile(`^\w+\(.*\) failed: (.*)$`)
	signalText    = regexp.MustCompile(`^signal \S+ received, cleaning up$`)
)

var missingSuffixes = []string{" does not exist, skipping", " cannot be accessed, skipping"}

// missingPath returns the path of a line that says that a path to back up is not there.
func missingPath(line string) (string, bool) {
	for _, suffix := range missingSuffixes {
		if path, found := strings.CutSuffix(line, suffix); found {
			return path, true
		}
	}
	return "", false
}
