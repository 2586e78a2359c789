package hostjob

import (
	"cmp"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/controllers/status"
)

// exclusive tells the kinds of which only one at a time is on a repository: restic locks everybody else out.
func exclusive(job *v1alpha1.HostJob) bool {
	switch job.Spec.Kind {
	case v1alpha1.HostJobForget, v1alpha1.HostJobPrune, v1alpha1.HostJobCheck:
		return true
	}
	return false
}

// ahead returns the job that an exclusive one has to wait for; nil when it is its turn. The order is that of creation, strictly: which jobs were created before never
// changes, so a stale copy of another job can make this one wait too long, and not begin too early. Beside that, one that has its command already, or is
// with the machine, is waited for even when it is younger. others are the unfinished exclusive jobs on the repository.
func ahead(f facts) *v1alpha1.HostJob {
	var first *v1alpha1.HostJob
	for _, other := range f.others {
		if other.UID == f.job.UID || other.Status.Phase.Finished() || lost(other, f) {
			continue
		}
		if (hasBegun(other) || earlier(other, f.job)) && (first == nil || comesFirst(other, first)) {
			first = other
		}
	}
	return first
}

// lost is a job that must have ended, of which nothing is heard: it holds nobody up any more.
func lost(job *v1alpha1.HostJob, f facts) bool {
	return isUnderWay(job) && !f.now.Before(silentFrom(job))
}

func isUnderWay(job *v1alpha1.HostJob) bool {
	return job.Status.Phase == v1alpha1.JobDispatched || job.Status.Phase == v1alpha1.JobRunning
}

func hasBegun(job *v1alpha1.HostJob) bool { return isUnderWay(job) || job.Status.Command != nil }

func earlier(a, b *v1alpha1.HostJob) bool {
	return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name)) < 0
}

// comesFirst names the job that is with a machine before those that wait.
func comesFirst(a, b *v1alpha1.HostJob) bool {
	if isUnderWay(a) != isUnderWay(b) {
		return isUnderWay(a)
	}
	return earlier(a, b)
}

// waitsFor tells which job is waited for, and looks again when that one must have ended.
func waitsFor(f facts, first *v1alpha1.HostJob) error {
	doing := "comes first"
	if isUnderWay(first) {
		doing = "is under way"
	}
	again := startingDeadline(f.job)
	if silent := silentFrom(first); isUnderWay(first) && silent.Before(again) {
		again = silent
	}
	return status.Waiting(v1alpha1.ReasonWaitingForRepository, again.Sub(f.now),
		"HostJob %q (%s, repository of Host %q) %s: of forget, prune and check only one at a time is on a repository. This one follows when it has ended; to go ahead of it, cancel it (spec.cancel: true)",
		first.Name, first.Spec.Kind, first.TargetName(), doing)
}
