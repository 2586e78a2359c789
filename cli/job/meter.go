package job

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/cli/terminal"
)

// samples is how many reports of progress a rate is made from: about a minute.
const samples = 6

// sample is one report.
type sample struct {
	at    time.Time
	bytes int64
}

// Meter makes a rate from reports of progress.
type Meter struct{ seen []sample }

// Add takes a report. One that was seen already changes nothing; a count that fell begins anew (another attempt).
func (m *Meter) Add(p *v1alpha1.JobProgress) {
	if p == nil {
		return
	}
	next := sample{p.UpdateTime.Time, p.BytesDone}
	if n := len(m.seen); n > 0 {
		last := m.seen[n-1]
		if !next.at.After(last.at) {
			return
		}
		if next.bytes < last.bytes {
			m.seen = nil
		}
	}
	m.seen = append(m.seen, next)
	if len(m.seen) > samples {
		m.seen = m.seen[1:]
	}
}

// Rate in bytes a second; 0 while it is not known.
func (m *Meter) Rate() float64 {
	if len(m.seen) < 2 {
		return 0
	}
	first, last := m.seen[0], m.seen[len(m.seen)-1]
	return float64(last.bytes-first.bytes) / last.at.Sub(first.at).Seconds()
}

// rest is how long what is left will take; 0 while it is not known.
func (m *Meter) rest(p *v1alpha1.JobProgress) time.Duration {
	rate := m.Rate()
	if rate <= 0 || p.BytesTotal <= p.BytesDone {
		return 0
	}
	return time.Duration(float64(p.BytesTotal-p.BytesDone) / rate * float64(time.Second)).Round(time.Second)
}

// Line says how a job stands, without its name.
func Line(j *v1alpha1.HostJob, m *Meter, now time.Time) string {
	s := &j.Status
	switch s.Phase {
	case "", v1alpha1.JobPending:
		if why := waitingFor(j); why != "" {
			return "waiting: " + why
		}
		return "waiting for the controllers"
	case v1alpha1.JobDispatched:
		if s.Queued {
			return "queued: the machine runs another job of this repository first"
		}
		return "handed to the machine"
	case v1alpha1.JobRunning:
		return running(j, m, now)
	}
	return Outcome(j, now)
}

func running(j *v1alpha1.HostJob, m *Meter, now time.Time) string {
	p := j.Status.Progress
	elapsed := ""
	if j.Status.StartTime != nil {
		elapsed = duration.HumanDuration(max(0, now.Sub(j.Status.StartTime.Time)))
	}
	if p == nil {
		return strings.TrimSpace("running " + elapsed)
	}
	var parts []string
	if p.BytesTotal > 0 {
		parts = append(parts, fmt.Sprintf("%d%%", p.Percent), fmt.Sprintf("%s of %s", terminal.Bytes(p.BytesDone), terminal.Bytes(p.BytesTotal)))
	}
	if p.FilesTotal > 0 {
		parts = append(parts, fmt.Sprintf("%d of %s", p.FilesDone, terminal.Count(p.FilesTotal, "file")))
	}
	if rate := m.Rate(); rate > 0 {
		parts = append(parts, terminal.Bytes(int64(rate))+"/s")
	}
	if rest := m.rest(p); rest > 0 {
		parts = append(parts, duration.HumanDuration(rest)+" left")
	}
	if len(parts) == 0 {
		parts = append(parts, strings.TrimSpace("running "+elapsed))
	}
	if p.Attempt > 1 {
		parts = append(parts, fmt.Sprintf("attempt %d", p.Attempt))
	}
	if p.Retrying != "" {
		parts = append(parts, "retrying: "+terminal.OneLine(p.Retrying))
	}
	return strings.Join(parts, ", ")
}

// Bar is a line with a bar in front, at most width wide.
func Bar(j *v1alpha1.HostJob, m *Meter, now time.Time, width int) string {
	line := Line(j, m, now)
	p := j.Status.Progress
	const most, least = 30, 8
	if j.Status.Phase == v1alpha1.JobRunning && p != nil && p.BytesTotal > 0 {
		if cells := min(most, width-utf8.RuneCountInString(line)-4); cells >= least {
			done := min(cells, cells*int(p.Percent)/100)
			line = "[" + strings.Repeat("#", done) + strings.Repeat(".", cells-done) + "] " + line
		}
	}
	if width > 1 && utf8.RuneCountInString(line) >= width {
		line = string([]rune(line)[:width-2]) + "…"
	}
	return line
}

// waitingFor is what the controllers say of a job that has not begun.
func waitingFor(j *v1alpha1.HostJob) string {
	for _, c := range j.Status.Conditions {
		if c.Type == v1alpha1.ConditionReady {
			return terminal.OneLine(c.Message)
		}
	}
	return ""
}
