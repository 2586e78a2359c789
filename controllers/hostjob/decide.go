package hostjob

import (
	"fmt"
	"strings"
	"time"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/controllers/compile"
	"github.com/restic-manager/restic-manager/controllers/status"
)

// facts are what a decision follows from. They are only read, and shared with the cache.
type facts struct {
	job    *v1alpha1.HostJob
	host   *v1alpha1.Host        // does the work; nil: there is none
	target *v1alpha1.Host        // whose repository it is on: mostly host itself; nil: there is none
	group  *v1alpha1.SourceGroup // nil: none is named, or there is none
	now    time.Time

	groups       []v1alpha1.SourceGroup     // of the namespace, for the kinds that work on groups
	sharing      []*v1alpha1.Host           // of the target's repository, oldest first
	maintenances []v1alpha1.RepoMaintenance // those that may select one of them
	others       []*v1alpha1.HostJob        // the unfinished exclusive jobs on the repository, this one perhaps among them
	credential   *credential                // of the Secret that accessOf names; nil: none
}

// decision is what becomes of a job that has not finished.
type decision struct {
	phase   v1alpha1.HostJobPhase // empty: it is the gateway's, and stays
	command *wire.JobCommand      // what to sign for a Pending job; nil: none can be made
	cancel  string                // the document of the cancellation; empty: leave it
	// err keeps the job from being Ready; nil: it is, with reason and message.
	err     error
	reason  string
	message string
	again   time.Time // when to look again without an event; zero: never
}

func decide(f facts) decision {
	switch f.job.Status.Phase {
	case v1alpha1.JobDispatched, v1alpha1.JobRunning:
		return underWay(f)
	}
	deadline := startingDeadline(f.job)
	command, hindrance := compileCommand(f)
	if first := ahead(f); hindrance == nil && first != nil {
		hindrance = waitsFor(f, first)
	}
	switch {
	case f.job.Spec.Cancel:
		return ended(v1alpha1.JobCancelled, "it was cancelled before the machine took it")
	case f.host == nil && ownerUID(f.job) != "", f.host != nil && ownerUID(f.job) != "" && ownerUID(f.job) != f.host.UID:
		return ended(v1alpha1.JobFailed, fmt.Sprintf("Host %q, for which it was created, was deleted before it took the job", f.job.Spec.HostRef.Name))
	case !f.now.Before(deadline):
		return ended(v1alpha1.JobExpired, expiredBecause(f.job, hindrance))
	case status.IsStalled(hindrance):
		return ended(v1alpha1.JobFailed, hindrance.Error())
	case hindrance != nil:
		return decision{phase: v1alpha1.JobPending, err: hindrance, message: hindrance.Error(), again: sooner(f, hindrance, deadline)}
	}
	return decision{
		phase: v1alpha1.JobPending, command: command, again: deadline,
		reason:  v1alpha1.ReasonWaitingForHost,
		message: fmt.Sprintf("waiting for the machine to take it, until %s", deadline.UTC().Format(time.RFC3339)),
	}
}

// sooner is when a hindrance is to be looked at again, and not later than at the deadline.
func sooner(f facts, hindrance error, deadline time.Time) time.Time {
	if result, err := status.Result(hindrance); err == nil && result.RequeueAfter > 0 {
		if at := f.now.Add(result.RequeueAfter); at.Before(deadline) {
			return at
		}
	}
	return deadline
}

// underWay is for a job that the gateway has given to the machine.
func underWay(f facts) decision {
	d := decision{reason: v1alpha1.ReasonInProgress, message: "the machine was told to run it"}
	if f.job.Status.Queued {
		d.message = "the machine runs another job of the same repository first; the Host's condition RepositoryReady tells when it waits for the repository"
	}
	if f.job.Status.Phase == v1alpha1.JobRunning {
		d.message = "the machine runs it"
	}
	if silent := silentFrom(f.job); f.now.Before(silent) {
		d.again = silent
	} else {
		d.err = status.Waiting(v1alpha1.ReasonNoReport, 0,
			"nothing was heard of it since %s, when it should have ended at the latest: see whether Host %q is Connected. Its result counts whenever it "+
				"comes; if the machine does not come back, delete the HostJob",
			silent.UTC().Format(time.RFC3339), f.job.Spec.HostRef.Name)
		d.message = d.err.Error()
	}
	if !f.job.Spec.Cancel {
		return d
	}
	if d.err == nil {
		d.message = "it was cancelled: the machine is told to stop it"
	}
	document, err := cancelDocument(f)
	if err != nil {
		d.err, d.message = err, err.Error()
		return d
	}
	d.cancel = document
	return d
}

// reportGrace is how long after the end of its deadlines the result of a job may take: restic is given a minute to stop, and the way back its time.
const reportGrace = 10 * time.Minute

// silentFrom is when a job that is under way must have ended. A machine's clock may be behind, so a start before the dispatch does not count.
func silentFrom(job *v1alpha1.HostJob) time.Time {
	began := startingDeadline(job)
	if at := job.Status.StartTime; job.Status.Phase == v1alpha1.JobRunning && at != nil {
		began = at.Time
		if sent := job.Status.DispatchTime; sent != nil && sent.After(began) {
			began = sent.Time
		}
	}
	return began.Add(time.Duration(job.Spec.ActiveDeadlineSeconds)*time.Second + reportGrace)
}

func ended(phase v1alpha1.HostJobPhase, message string) decision {
	return decision{phase: phase, message: message}
}

// startingDeadline is also the command's notAfter.
func startingDeadline(job *v1alpha1.HostJob) time.Time {
	return job.CreationTimestamp.Add(time.Duration(job.Spec.StartingDeadlineSeconds) * time.Second)
}

func expiredBecause(job *v1alpha1.HostJob, hindrance error) string {
	allowed := time.Duration(job.Spec.StartingDeadlineSeconds) * time.Second
	if hindrance != nil {
		return fmt.Sprintf("it could not be started within %s (spec.startingDeadlineSeconds): %s", allowed, hindrance)
	}
	return fmt.Sprintf("the machine did not take it within %s (spec.startingDeadlineSeconds): see whether Host %q is Connected, then create another HostJob",
		allowed, job.Spec.HostRef.Name)
}

// hinders tells why a job cannot be compiled now. It may be able to later, if it is not stalled.
func hinders(f facts) error {
	host := f.job.Spec.HostRef.Name
	switch {
	case f.host == nil:
		return status.Waiting(v1alpha1.ReasonHostNotFound, 0, "spec.hostRef: there is no Host %q in this namespace: create it, or create the job for another one", host)
	case f.host.Spec.Identity == nil:
		return status.Waiting(v1alpha1.ReasonNotEnrolled, 0, "Host %q is not enrolled: run the command in Secret %s on the machine", host, v1alpha1.EnrollmentSecretName(host))
	case f.target == nil:
		return status.Waiting(v1alpha1.ReasonHostNotFound, 0, "spec.targetRef: there is no Host %q in this namespace: create it, or create the job for another one", f.job.TargetName())
	}
	name := f.job.GroupName()
	switch {
	case name == "":
		return nil
	case f.group == nil:
		return status.Waiting(v1alpha1.ReasonSourceGroupMissing, 0, "spec.%s.sourceGroup: there is no SourceGroup %q in this namespace: create it, or %s",
			strings.ToLower(string(f.job.Spec.Kind)), name, otherwise(f.job))
	case f.job.Spec.Kind != v1alpha1.HostJobBackup:
		return nil // what a Forget or Verify needs of it is looked at later, and old snapshots stay reachable when the group is for other hosts now
	}
	if findings := compile.CheckGroup(f.group); len(findings) > 0 {
		return status.Waiting(findings[0].Reason, 0, "SourceGroup %q: %s: %s", name, findings[0].Field, findings[0].Message)
	}
	if matches, err := compile.Matches(f.group.Spec.Selector, f.host); err != nil || !matches {
		return status.Waiting(v1alpha1.ReasonNoSharedHost, 0, "spec.backup.sourceGroup: SourceGroup %q is not for Host %q: change its hostRef or hostSelector, or name another group", name, host)
	}
	return nil
}

func otherwise(job *v1alpha1.HostJob) string {
	if job.Spec.Kind == v1alpha1.HostJobRestore {
		return "restore a snapshot by its id"
	}
	return "create the job for another group"
}
