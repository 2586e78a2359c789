package maintenance

import (
	"slices"
	"time"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
)

const (
	defaultSuccessTTL = time.Hour
	// keptFailures bounds the jobs that failed one after the other.
	keptFailures = 3
	// expiredKept is how long a job that never ran is kept for its machine to come back.
	expiredKept = 30 * 24 * time.Hour
)

// Obsolete returns the HostJobs of maintenance that have been kept long enough, and when the next one will have been; zero for never. One whose result
// is not written in the status of all hosts that it concerns is never among them: it is the only record. tasks are those of the repository.
func (r *Repository) Obsolete(tasks []Task, now time.Time) (obsolete []*v1alpha1.HostJob, again time.Time) {
	for i := range tasks {
		t := &tasks[i]
		var host *v1alpha1.Host
		if t.Host != "" {
			host = t.Target
		}
		jobs := slices.DeleteFunc(r.jobsOf(t.Operation, host), func(job *v1alpha1.HostJob) bool {
			_, ours := slotOf(job)
			return !ours
		})
		var newer after
		for _, job := range slices.Backward(jobs) {
			end, ended := endingOf(job, now)
			if !ended {
				newer.made = true
				again = sooner(again, lostAt(job))
				continue
			}
			until, kept := newer.keeps(end, ttl(t.Maintenance))
			newer.add(end)
			switch {
			case end.ran && !r.former(job) && !r.written(t.Operation, host, end):
			case !kept || !until.IsZero() && !now.Before(until):
				obsolete = append(obsolete, job)
			case !until.IsZero():
				again = sooner(again, until)
			}
		}
	}
	return obsolete, again
}

// after is what came after a job.
type after struct {
	made, ended, succeeded bool
	unsuccessful           int
}

func (a *after) add(end ending) {
	a.made = true
	if !end.ran {
		return
	}
	a.ended = true
	if end.result == v1alpha1.ResultSucceeded {
		a.succeeded = true
	} else {
		a.unsuccessful++
	}
}

// keeps says whether a job is kept, and until when; zero for until something comes after it.
func (a *after) keeps(end ending, successTTL time.Duration) (until time.Time, kept bool) {
	switch {
	case end.lost:
		return time.Time{}, false
	case !end.ran:
		return end.at.Add(expiredKept), !a.made
	case end.result == v1alpha1.ResultSucceeded:
		return end.at.Add(successTTL), !a.ended
	}
	return time.Time{}, !a.succeeded && a.unsuccessful < keptFailures
}

func ttl(m *v1alpha1.RepoMaintenance) time.Duration {
	if m == nil || m.Spec.SuccessTTLSeconds == nil {
		return defaultSuccessTTL
	}
	return time.Duration(*m.Spec.SuccessTTLSeconds) * time.Second
}

// written tells whether the status of every host that an operation concerns holds this end, or a later one.
func (r *Repository) written(o Operation, host *v1alpha1.Host, end ending) bool {
	for _, h := range r.Hosts {
		if host != nil && h.Name != host.Name {
			continue
		}
		record := Recorded(h, o)
		if record == nil || record.FinishTime == nil || record.FinishTime.Time.Before(end.at.Truncate(time.Second)) {
			return false
		}
	}
	return true
}

func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
