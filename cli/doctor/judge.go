package doctor

import (
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/cli/terminal"
)

// Verdict on one link.
type Verdict string

// The verdicts.
const (
	Fine Verdict = "ok"
	// Wrong breaks the chain, or a backup. Warning is what will.
	Wrong   Verdict = "WRONG"
	Warning Verdict = "warn"
	// Skipped: it cannot be known, because of another link or of missing rights.
	Skipped Verdict = "skip"
)

// Finding is what is to be said of one link.
type Finding struct {
	Link    string  `json:"link"`
	Verdict Verdict `json:"verdict"`
	Says    string  `json:"says"`
	// Fix is a command, or what a person does.
	Fix string `json:"fix,omitempty"`
}

// The links, in the order of the chain.
const (
	LinkCluster     = "cluster"
	LinkKinds       = "kinds"
	LinkHost        = "host"
	LinkCredentials = "credentials"
	LinkEnrolment   = "enrolment"
	LinkConnection  = "connection"
	LinkIdentity    = "identity"
	LinkGateway     = "gateway"
	LinkVersions    = "versions"
	LinkClock       = "clock"
	LinkSet         = "schedule set"
	LinkConsent     = "consent"
	LinkSchedule    = "schedule"
	LinkRepository  = "repository"
	LinkLock        = "lock"
	LinkHealth      = "repository health"
	LinkMaintenance = "maintenance"
	LinkResults     = "last results"
	LinkOverdue     = "overdue"
	LinkPassword    = "password export"
	LinkDisk        = "disk space"
	LinkMachine     = "machine"
)

// judgement collects findings.
type judgement struct {
	Facts
	found []Finding
}

func (j *judgement) fine(link, format string, args ...any) {
	j.found = append(j.found, Finding{Link: link, Verdict: Fine, Says: fmt.Sprintf(format, args...)})
}

func (j *judgement) skip(link, format string, args ...any) {
	j.found = append(j.found, Finding{Link: link, Verdict: Skipped, Says: fmt.Sprintf(format, args...)})
}

func (j *judgement) wrong(link, fix, format string, args ...any) {
	j.found = append(j.found, Finding{Link: link, Verdict: Wrong, Says: fmt.Sprintf(format, args...), Fix: fix})
}

func (j *judgement) warn(link, fix, format string, args ...any) {
	j.found = append(j.found, Finding{Link: link, Verdict: Warning, Says: fmt.Sprintf(format, args...), Fix: fix})
}

// kubectl is a command in the host's namespace.
func (j *judgement) kubectl(format string, args ...any) string {
	return fmt.Sprintf("kubectl -n %s ", j.Namespace) + fmt.Sprintf(format, args...)
}

func (j *judgement) plugin(format string, args ...any) string {
	return "kubectl restic " + fmt.Sprintf(format, args...) + " -n " + j.Namespace
}

// Judge says of each link how it is.
func Judge(f Facts) []Finding {
	j := &judgement{Facts: f}
	if !j.cluster() || !j.host() {
		return j.found
	}
	j.credentials()
	if j.enrolment() {
		j.connection()
		j.identity()
		j.gateway()
		j.machine()
		j.versions()
		j.clock()
		j.set()
		j.consent()
	}
	j.schedule()
	j.repository()
	j.health()
	j.maintenance()
	j.results()
	j.overdue()
	j.password()
	j.disks()
	return j.found
}

// Worst is the worst verdict.
func Worst(found []Finding) Verdict {
	worst := Fine
	for _, f := range found {
		switch {
		case f.Verdict == Wrong:
			return Wrong
		case f.Verdict == Warning:
			worst = Warning
		}
	}
	return worst
}

func (j *judgement) cluster() bool {
	switch {
	case j.Server != nil:
		j.wrong(LinkCluster, "kubectl get --raw /version", "the API server does not answer: %v", j.Server)
		return false
	case !j.Served:
		j.fine(LinkCluster, "the API server answers")
		j.wrong(LinkKinds, "kubectl apply --server-side -k config/default", "this cluster does not serve %s: restic-manager is not installed, or --context names another cluster", v1alpha1.GroupVersion)
		return false
	case len(j.MissingKinds) > 0:
		j.fine(LinkCluster, "the API server answers")
		j.wrong(LinkKinds, "kubectl apply --server-side -k config/crd", "the cluster does not know %s: its CRDs are of an older version", strings.Join(j.MissingKinds, ", "))
		return false
	}
	j.fine(LinkCluster, "the API server answers, and serves %s", v1alpha1.GroupVersion)
	return true
}

func (j *judgement) host() bool {
	switch {
	case apierrors.IsForbidden(j.HostErr):
		j.wrong(LinkHost, fmt.Sprintf("kubectl -n %s create rolebinding YOU-view --clusterrole=view --user=YOU   # by an administrator", j.Namespace),
			"you may not read Hosts in namespace %s", j.Namespace)
		return false
	case j.HostErr != nil:
		j.wrong(LinkHost, j.kubectl("get host %s", j.Name), "the Host cannot be read: %v", j.HostErr)
		return false
	case j.Host == nil && j.Near != "":
		j.wrong(LinkHost, j.plugin("doctor %s", j.Near), "there is no Host %q in namespace %s; there is %s", j.Name, j.Namespace, j.Near)
		return false
	case j.Host == nil:
		j.wrong(LinkHost, j.plugin("enroll %s --repository URL", j.Name), "there is no Host %q in namespace %s", j.Name, j.Namespace)
		return false
	}
	ready, stalled := j.condition(v1alpha1.ConditionReady), j.condition(v1alpha1.ConditionStalled)
	behind := j.Host.Status.ObservedGeneration < j.Host.Generation
	switch {
	case ready == nil || behind && j.Now.Sub(j.Host.CreationTimestamp.Time) > time.Minute && j.Host.Status.ObservedGeneration < 0:
		j.wrong(LinkHost, "kubectl -n restic-manager-system get deployment restic-manager-controller",
			"nobody has looked at the Host: the controllers do not run, or do not look after namespace %s", j.Namespace)
	case stalled != nil && stalled.Status == metav1.ConditionTrue:
		j.wrong(LinkHost, j.kubectl("edit host %s", j.Name), "the Host is not accepted (%s): %s", stalled.Reason, stalled.Message)
	case ready.Status != metav1.ConditionTrue && !aboutCredentials(ready.Reason):
		j.wrong(LinkHost, j.kubectl("describe host %s", j.Name), "the Host is not ready (%s): %s", ready.Reason, ready.Message)
	case j.Host.Spec.Suspend:
		j.warn(LinkHost, j.plugin("resume %s", j.Name), "the Host is suspended: nothing runs by schedule")
	default:
		j.fine(LinkHost, "accepted: %s", ready.Message)
	}
	return true
}

func aboutCredentials(reason string) bool {
	switch reason {
	case v1alpha1.ReasonCredentialsMissing, v1alpha1.ReasonCredentialsInvalid, v1alpha1.ReasonCredentialsNotLabeled:
		return true
	}
	return false
}

// credentials are judged from the Secret where it can be read, and from what the controllers say of it.
func (j *judgement) credentials() {
	s, ready := j.Credentials, j.condition(v1alpha1.ConditionReady)
	label := j.kubectl("label secret %s %s=true", s.Name, v1alpha1.LabelCredentials)
	create := j.kubectl("create secret generic %s --from-literal=RESTIC_PASSWORD=…", s.Name) + " && " + label
	switch {
	case s.Readable && !s.Exists:
		j.wrong(LinkCredentials, create, "Secret %s with the repository's password does not exist", s.Name)
	case s.Readable && !s.Labelled:
		j.wrong(LinkCredentials, label, "Secret %s lacks the label by which the controllers may read it", s.Name)
	case s.Readable && !s.HasPassword:
		j.wrong(LinkCredentials, j.kubectl("edit secret %s", s.Name), "Secret %s has no RESTIC_PASSWORD", s.Name)
	case ready != nil && ready.Status != metav1.ConditionTrue && ready.Reason == v1alpha1.ReasonCredentialsNotLabeled:
		j.wrong(LinkCredentials, label, "%s", ready.Message)
	case ready != nil && ready.Status != metav1.ConditionTrue && aboutCredentials(ready.Reason):
		j.wrong(LinkCredentials, create, "%s", ready.Message)
	case s.Readable:
		j.fine(LinkCredentials, "Secret %s holds the repository's password", s.Name)
	default:
		j.skip(LinkCredentials, "you may not read Secrets; the controllers find nothing wrong with %s", s.Name)
	}
}

// enrolment tells whether the rest of the way to the machine can be looked at.
func (j *judgement) enrolment() bool {
	if j.Host.Spec.Identity != nil {
		j.fine(LinkEnrolment, "a machine's keys are pinned")
		return true
	}
	c := j.condition(v1alpha1.ConditionEnrolled)
	fix := j.plugin("enroll %s", j.Name)
	switch {
	case c == nil:
		j.wrong(LinkEnrolment, fix, "no machine is enrolled")
	case c.Reason == v1alpha1.ReasonTokenExpired:
		j.wrong(LinkEnrolment, fix, "no machine is enrolled, and the token has expired")
	case c.Reason == v1alpha1.ReasonTokenVoid:
		j.wrong(LinkEnrolment, fix, "no machine is enrolled, and the token is void: too many wrong proofs were shown for it")
	default:
		j.wrong(LinkEnrolment, fix, "no machine is enrolled: the line to paste was not run on it yet")
	}
	return false
}

func (j *judgement) condition(kind string) *metav1.Condition {
	if j.Host == nil {
		return nil
	}
	return meta.FindStatusCondition(j.Host.Status.Conditions, kind)
}

func (j *judgement) connected() bool {
	c := j.condition(v1alpha1.ConditionConnected)
	return c != nil && c.Status == metav1.ConditionTrue
}

// ago is how long ago something was.
func (j *judgement) ago(t *metav1.Time) string { return terminal.AgoOf(t, j.Now) + " ago" }
