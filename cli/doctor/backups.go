package doctor

import (
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/cli/terminal"
)

// schedule is about what would run: groups that mean the host, and schedules that fire them.
func (j *judgement) schedule() {
	var groups, fired []string
	for _, g := range j.Groups {
		if means(g.Spec.Selector, j.Host) {
			groups = append(groups, g.Name)
		}
	}
	suspended := true
	for _, s := range j.Host.Status.Schedules {
		fired = append(fired, s.Name)
		suspended = suspended && s.Suspended
	}
	switch {
	case len(groups) == 0 && len(fired) == 0:
		j.wrong(LinkSchedule, j.kubectl("get sourcegroups -o yaml"), "no source group means this host: hostRef or hostSelector of none fits its name and labels (%s)", labels.Set(j.Host.Labels))
	case len(fired) == 0 && j.Host.Spec.Identity == nil:
		j.skip(LinkSchedule, "what fires here is told once a machine is enrolled")
	case len(fired) == 0:
		j.wrong(LinkSchedule, j.kubectl("get schedules -o yaml"), "no schedule fires a group of this host (%s): nothing is backed up", strings.Join(groups, ", "))
	case suspended && !j.Host.Spec.Suspend:
		j.warn(LinkSchedule, j.plugin("resume schedule/%s", fired[0]), "all its schedules are suspended: %s", strings.Join(fired, ", "))
	case j.Host.Status.NextRunTime != nil:
		j.fine(LinkSchedule, "%s; the next backup begins %s", strings.Join(fired, ", "), terminal.In(j.Host.Status.NextRunTime, j.Now))
	default:
		j.fine(LinkSchedule, "%s", strings.Join(fired, ", "))
	}
}

func means(s v1alpha1.Selector, host *v1alpha1.Host) bool {
	if s.HostRef != nil {
		return s.HostRef.Name == host.Name
	}
	if s.HostSelector == nil {
		return false
	}
	selector, err := metav1.LabelSelectorAsSelector(s.HostSelector)
	return err == nil && selector.Matches(labels.Set(host.Labels))
}

// repository prefers what the machine said a moment ago to what is recorded.
func (j *judgement) repository() {
	reason, message, known := "", "", false
	if d := j.Diagnosis; d != nil && d.RepositoryChecked {
		reason, message, known = d.RepositoryReason, d.RepositoryMessage, true
	} else if c := j.condition(v1alpha1.ConditionRepositoryReady); c != nil && c.Status != metav1.ConditionUnknown {
		known = true
		if c.Status == metav1.ConditionFalse {
			reason, message = c.Reason, c.Message
		}
	}
	switch {
	case !known:
		j.skip(LinkRepository, "the machine has not tried to open it yet")
	case reason == "":
		j.fine(LinkRepository, "the machine can open %s", j.Host.Spec.Repository.URL)
	case reason == string(wire.ReasonLocked):
		// told by lock below
	default:
		j.wrong(LinkRepository, j.repositoryFix(wire.Reason(reason)), "the machine cannot open its repository (%s): %s", terminal.OneLine(reason), terminal.OneLine(message))
	}
	j.lock(reason)
}

// repositoryFix is what mends a repository that does not open.
func (j *judgement) repositoryFix(reason wire.Reason) string {
	secret := j.Host.CredentialsSecretName()
	switch reason {
	case wire.ReasonWrongPassword:
		return j.kubectl("edit secret %s   # RESTIC_PASSWORD is not the repository's", secret)
	case wire.ReasonUnauthorized:
		return j.kubectl("edit secret %s   # the user or key that the storage knows", secret)
	case wire.ReasonNoRepository, wire.ReasonHalfInitialised:
		return j.plugin("run init %s --wait", j.Name)
	case wire.ReasonUnreachable:
		return fmt.Sprintf("curl -v %s   # on the machine: name, port, firewall", plainURL(j.Host.Spec.Repository.URL))
	case wire.ReasonTLS:
		return j.kubectl("edit host %s   # spec.repository.caBundle: the authority of the storage's certificate", j.Name)
	case wire.ReasonNoSpace:
		return j.plugin("run prune %s --wait", j.Name)
	}
	return j.plugin("logs %s", j.Name)
}

// plainURL is a repository's URL without restic's scheme.
func plainURL(url string) string {
	for _, scheme := range []string{"rest:", "s3:", "swift:", "azure:", "gs:", "b2:"} {
		url = strings.TrimPrefix(url, scheme)
	}
	return url
}

func (j *judgement) lock(reason string) {
	recorded := j.Host.Status.Repository != nil && j.Host.Status.Repository.LockPresent
	unlock := j.plugin("run unlock %s --wait", j.Name)
	switch d := j.Diagnosis; {
	case d != nil && len(d.Locks) > 0 && len(d.Running) == 0:
		j.warn(LinkLock, unlock+"   # removes stale ones alone", "the repository is locked, and not by a job of this machine: %s", terminal.OneLine(d.Locks[0]))
	case reason == string(wire.ReasonLocked), recorded && d == nil:
		j.wrong(LinkLock, unlock+"   # removes stale ones alone", "the last job waited for, or failed on, somebody else's lock")
	default:
		j.fine(LinkLock, "nobody else's lock is in the way")
	}
}

func (j *judgement) health() {
	c := j.condition(v1alpha1.ConditionRepositoryHealthy)
	switch {
	case c == nil || c.Status == metav1.ConditionUnknown:
		j.skip(LinkHealth, "no check and no restore drill has run yet: %s", j.plugin("run check %s", j.Name))
	case c.Status == metav1.ConditionFalse:
		j.wrong(LinkHealth, j.plugin("jobs %s", j.Name), "%s: %s", c.Reason, c.Message)
	default:
		j.fine(LinkHealth, "%s", c.Message)
	}
}

func (j *judgement) maintenance() {
	m := j.Host.Status.Maintenance
	if m == nil {
		return
	}
	for _, o := range []struct {
		name string
		last *v1alpha1.OperationStatus
	}{{"forget", m.Forget}, {"prune", m.Prune}} {
		if o.last != nil && o.last.Result == v1alpha1.ResultFailed {
			fix := j.plugin("logs job/%s", o.last.HostJob)
			if o.last.Reason == string(wire.ReasonForgetRefused) {
				fix = j.kubectl("edit host %s   # spec.repository.adminCredentialsSecretRef", j.Name)
			}
			j.warn(LinkMaintenance, fix, "the last %s failed (%s): %s", o.name, o.last.Reason, terminal.OneLine(o.last.Message))
		}
	}
}

func (j *judgement) results() {
	bad := 0
	for _, g := range j.Host.Status.SourceGroups {
		switch g.Result {
		case v1alpha1.ResultFailed, v1alpha1.ResultCompletedWithErrors:
			bad++
			verdict := j.warn
			if g.Result == v1alpha1.ResultFailed {
				verdict = j.wrong
			}
			verdict(LinkResults, j.plugin("logs %s --group %s", j.Name, g.Name), "the last backup of %s ended %s (%s) %s: %s", g.Name, g.Result, g.Reason, j.ago(g.FinishTime), terminal.OneLine(g.Message))
		}
	}
	switch {
	case bad > 0:
	case len(j.Host.Status.SourceGroups) == 0:
		j.skip(LinkResults, "no backup has run yet: %s", j.plugin("run backup %s --wait", j.Name))
	default:
		j.fine(LinkResults, "the last backup of each group succeeded; the newest %s", j.ago(j.Host.Status.LastSuccessTime))
	}
}

func (j *judgement) overdue() {
	if len(j.Host.Status.Overdue) == 0 {
		if c := j.condition(v1alpha1.ConditionBackupsCurrent); c != nil && c.Reason == v1alpha1.ReasonHostOffline {
			j.warn(LinkOverdue, "", "%s", c.Message)
			return
		}
		j.fine(LinkOverdue, "no backup is overdue")
		return
	}
	o := j.Host.Status.Overdue[0]
	more := ""
	if n := len(j.Host.Status.Overdue) - 1; n > 0 {
		more = fmt.Sprintf(", and %d more", n)
	}
	j.wrong(LinkOverdue, j.plugin("run backup %s --group %s --wait", j.Name, o.SourceGroup), "the backup of %s by schedule %s was due %s%s", o.SourceGroup, o.Schedule, j.ago(&o.DueTime), more)
}

func (j *judgement) password() {
	c := j.condition(v1alpha1.ConditionCredentialsExported)
	switch {
	case c == nil:
	case c.Status == metav1.ConditionTrue:
		j.fine(LinkPassword, "%s", c.Message)
	case c.Reason == v1alpha1.ReasonMintedSecretMissing:
		j.wrong(LinkPassword, "sudo restic-manager-agent export-credentials   # on the machine", "%s", c.Message)
	default:
		j.warn(LinkPassword, j.kubectl("get secret %s -o yaml   # keep it outside the cluster", j.Host.CredentialsSecretName()), "%s", c.Message)
	}
}
