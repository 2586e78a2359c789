package host

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/controllers/compile"
	"github.com/restic-manager/restic-manager/controllers/status"
)

const (
	// applyGrace is how long a published set may wait for its ack before ScheduleSetApplied says so.
	applyGrace = 30 * time.Second
	// maxClockSkew is how far a machine's clock may be off.
	maxClockSkew = time.Minute
	// duplicateMemory is how long a second machine is remembered: a refused agent comes back every ten to sixteen minutes.
	duplicateMemory = 30 * time.Minute
)

// setConditions sets every condition of the Host and says when to look again. Without facts it sets Ready alone.
func (r *Reconciler) setConditions(host *v1alpha1.Host, f *facts, err error) ctrl.Result {
	set := status.For(&host.Status.Conditions, host.Generation, r.Clock)
	if f == nil {
		set.Ready(err, "", "")
		return ctrl.Result{}
	}
	now := r.Clock.Now()
	reason, message := ready(host, f)
	set.Ready(err, reason, message)

	var again ctrl.Result
	put := func(kind string, v verdictOn) {
		set.Set(kind, v.status, v.reason, v.message)
		again = status.Sooner(again, ctrl.Result{RequeueAfter: v.again})
	}
	put(v1alpha1.ConditionEnrolled, enrolled(host, f.identity, now))
	connection, life := r.connectionOf(f.set)
	isConnected := connected(connection, life, condition(host, v1alpha1.ConditionConnected), now)
	put(v1alpha1.ConditionConnected, isConnected)
	if v, keep := applied(f.set, isConnected.status == metav1.ConditionTrue, condition(host, v1alpha1.ConditionScheduleSetApplied), now); keep {
		again = status.Sooner(again, ctrl.Result{RequeueAfter: v.again})
	} else {
		put(v1alpha1.ConditionScheduleSetApplied, v)
	}
	put(v1alpha1.ConditionBackupsCurrent, backupsCurrent(host, r.expect(host, f, isConnected.status == metav1.ConditionTrue, connection, now), isConnected.status == metav1.ConditionTrue, now))
	put(v1alpha1.ConditionRepositoryReady, repositoryReady(host))
	put(v1alpha1.ConditionRepositoryHealthy, repositoryHealthy(recorded(host), condition(host, v1alpha1.ConditionRepositoryHealthy)))
	put(v1alpha1.ConditionClockSynchronised, clockSynchronised(host.Status.Agent))

	// Those that are there for some Hosts only.
	some := func(kind string, v verdictOn, present bool) {
		if !present {
			set.Remove(kind)
			return
		}
		put(kind, v)
	}
	v, present := duplicate(f.set, now)
	some(v1alpha1.ConditionDuplicateIdentity, v, present)
	v, present = credentialsExported(host, f.minted)
	some(v1alpha1.ConditionCredentialsExported, v, present)
	v, present = adminReady(f.admin)
	some(v1alpha1.ConditionAdminCredentialsReady, v, present)
	v, present = adminExposed(f.admin)
	some(v1alpha1.ConditionAdminCredentialsExposed, v, present)
	if v, present, keep := allowedByMachine(f.set, f.compiled, condition(host, v1alpha1.ConditionAllowedByMachine)); !keep {
		some(v1alpha1.ConditionAllowedByMachine, v, present)
	}
	return again
}

func (r *Reconciler) connectionOf(set *v1alpha1.ScheduleSet) (*v1alpha1.Connection, Life) {
	if set == nil || set.Status.Connection == nil {
		return nil, Life{}
	}
	if set.Status.Connection.DisconnectedTime != nil {
		return set.Status.Connection, Life{} // whether its replica lives does not matter
	}
	return set.Status.Connection, r.Gateways.Life(set.Status.Connection.Gateway)
}

// ready words a Host that nothing is wrong with.
func ready(host *v1alpha1.Host, f *facts) (reason, message string) {
	if f.identity == nil {
		return v1alpha1.ReasonAccepted, fmt.Sprintf("waiting for the machine to enrol: its command is in Secret %s", v1alpha1.EnrollmentSecretName(host.Name))
	}
	reason, message = v1alpha1.ReasonPublished, "published"
	if f.set != nil {
		message = fmt.Sprintf("published %s for %s", count(len(f.set.Spec.Schedules), "schedule"), count(len(f.set.Spec.Groups), "source group"))
	}
	if host.Spec.Suspend {
		reason, message = v1alpha1.ReasonSuspended, message+"; spec.suspend stops all of them"
	}
	if out := leftOut(f.findings); out != "" {
		message += "; left out: " + out
	}
	return reason, message
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// leftOut names at most three invalid objects. What a Schedule misses elsewhere is told there.
func leftOut(findings []compile.Finding) string {
	const shown = 3
	findings = slices.DeleteFunc(slices.Clone(findings), func(f compile.Finding) bool { return f.Reason != v1alpha1.ReasonInvalid })
	var parts []string
	for i, f := range findings {
		if i == shown {
			parts = append(parts, fmt.Sprintf("and %d more", len(findings)-shown))
			break
		}
		parts = append(parts, f.String())
	}
	return strings.Join(parts, "; ")
}

func enrolled(host *v1alpha1.Host, identity *wire.Identity, now time.Time) verdictOn {
	e := host.Status.Enrollment
	secret := v1alpha1.EnrollmentSecretName(host.Name)
	if host.Spec.Identity != nil {
		v := verdictOn{status: metav1.ConditionTrue, reason: v1alpha1.ReasonIdentityGiven, message: "spec.identity names the machine's keys"}
		if identity != nil && pinnedByEnrolment(host, identity) {
			v.reason, v.message = v1alpha1.ReasonIdentityPinned, "the machine's keys were pinned by its enrolment"
		}
		if e != nil && e.TokenIDHash != "" && e.ExpiresAt != nil && now.Before(e.ExpiresAt.Time) {
			v.message += fmt.Sprintf("; a token to replace them is in Secret %s", secret)
		}
		return v
	}
	mint := fmt.Sprintf("kubectl -n %s annotate hosts.%s %s --overwrite %s=\"$(date)\"",
		host.Namespace, v1alpha1.GroupVersion.Group, host.Name, v1alpha1.AnnotationMintToken)
	switch {
	case e == nil:
		return verdictOn{status: metav1.ConditionFalse, reason: v1alpha1.ReasonTokenMinted, message: "an enrolment token is about to be minted"}
	case e.TokenIDHash == "":
		return verdictOn{status: metav1.ConditionFalse, reason: v1alpha1.ReasonTokenVoid,
			message: fmt.Sprintf("the token is void after %d wrong proofs; to mint another: %s", e.FailedAttempts, mint)}
	case e.ExpiresAt != nil && !now.Before(e.ExpiresAt.Time):
		return verdictOn{status: metav1.ConditionFalse, reason: v1alpha1.ReasonTokenExpired, message: "the token has expired; to mint another: " + mint}
	}
	return verdictOn{status: metav1.ConditionFalse, reason: v1alpha1.ReasonTokenMinted, message: fmt.Sprintf(
		"run on the machine what this prints: kubectl -n %s get secret %s -o jsonpath='{.data.command}' | base64 -d", host.Namespace, secret)}
}

// pinnedByEnrolment tells keys that an enrolment pinned from those that a person wrote over them.
func pinnedByEnrolment(host *v1alpha1.Host, identity *wire.Identity) bool {
	if host.Annotations[v1alpha1.AnnotationEnrolledWith] == "" {
		return false
	}
	e := host.Status.Enrollment
	if e == nil || e.Verdict == nil {
		return true
	}
	verdict, err := wire.ParseEnrolVerdict(e.Verdict.Document)
	return err != nil || !verdict.Approved || verdict.IdentityHash == identity.Hash()
}

// applied compares what was published with what the agent acked. keep asks to leave the condition as it stands.
func applied(set *v1alpha1.ScheduleSet, isConnected bool, before *metav1.Condition, now time.Time) (v verdictOn, keep bool) {
	if set == nil {
		return verdictOn{status: metav1.ConditionFalse, reason: v1alpha1.ReasonNotPublished, message: "nothing is published for this Host yet: see condition Ready"}, false
	}
	s := &set.Status
	switch refusal := s.Refusal; {
	case s.AppliedRevision == set.Spec.Revision:
		return verdictOn{status: metav1.ConditionTrue, reason: v1alpha1.ReasonApplied, message: "the agent runs the published set"}, false
	case refusal != nil && refusal.Revision == set.Spec.Revision:
		message := fmt.Sprintf("the agent refused the published set (%s): %s", refusal.Reason, refusal.Message)
		if s.AppliedRevision != "" {
			message += "; the one before stays in force"
		}
		return verdictOn{status: metav1.ConditionFalse, reason: v1alpha1.ReasonRefused, message: message}, false
	}
	if before != nil && before.Status == metav1.ConditionTrue {
		// A serial is the time at which a set was published, or a little later, unless the clock was set back since.
		if age := now.Sub(time.UnixMicro(set.Spec.Serial)); age.Abs() < applyGrace {
			return verdictOn{again: applyGrace - max(age, 0)}, true
		}
	}
	v = verdictOn{status: metav1.ConditionFalse, reason: v1alpha1.ReasonPending, message: "published, and not acknowledged by the agent yet"}
	if !isConnected {
		v.message = "published; the agent gets it when it connects"
	}
	return v, false
}

var conditionReason = regexp.MustCompile(`^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$`)

func repositoryReady(host *v1alpha1.Host) verdictOn {
	repository := host.Status.Repository
	if repository == nil || !sameRepository(repository.URL, host.Spec.Repository.URL) {
		return verdictOn{status: metav1.ConditionUnknown, reason: v1alpha1.ReasonNotReported, message: "the machine has not said yet whether it can open its repository"}
	}
	switch wire.RepositoryState(repository.State) {
	case wire.RepositoryReady:
		return verdictOn{status: metav1.ConditionTrue, reason: v1alpha1.ReasonRepositoryOpened, message: "the machine opened its repository"}
	case wire.RepositoryRetrying:
		return verdictOn{status: metav1.ConditionFalse, reason: v1alpha1.ReasonRetrying, message: repository.Message}
	}
	v := verdictOn{status: metav1.ConditionFalse, reason: v1alpha1.ReasonFailed, message: repository.Message}
	if conditionReason.MatchString(repository.Reason) { // it comes from the machine
		v.reason = repository.Reason
	}
	return v
}

// sameRepository compares a reported URL, from which user names are taken out, with the one in the spec.
func sameRepository(reported, spec string) bool {
	return reported == "" || reported == spec || withoutUser(reported) == withoutUser(spec)
}

var userinfo = regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.-]*://)[^/]*@`)

func withoutUser(url string) string {
	return strings.TrimSuffix(userinfo.ReplaceAllString(url, "$1"), "/")
}

func clockSynchronised(agent *v1alpha1.AgentStatus) verdictOn {
	if agent == nil {
		return verdictOn{status: metav1.ConditionUnknown, reason: v1alpha1.ReasonNotReported, message: "no agent has connected yet"}
	}
	skew := time.Duration(agent.ClockSkewSeconds) * time.Second
	if skew.Abs() <= maxClockSkew {
		return verdictOn{status: metav1.ConditionTrue, reason: v1alpha1.ReasonClockWithinLimit, message: "the machine's clock was within " + maxClockSkew.String() + " of the gateway's when it connected"}
	}
	direction := "ahead of"
	if skew < 0 {
		direction = "behind"
	}
	return verdictOn{status: metav1.ConditionFalse, reason: v1alpha1.ReasonClockSkewed,
		message: fmt.Sprintf("the machine's clock was %s %s the gateway's when it connected: set up NTP there, schedules fire by that clock", skew.Abs(), direction)}
}

// duplicate tells of two living machines with the same keys, for as long as the second one keeps trying.
func duplicate(set *v1alpha1.ScheduleSet, now time.Time) (v verdictOn, present bool) {
	if set == nil || set.Status.Duplicate == nil {
		return verdictOn{}, false
	}
	left := set.Status.Duplicate.LastSeen.Add(duplicateMemory).Sub(now)
	if left <= 0 {
		return verdictOn{}, false
	}
	return verdictOn{status: metav1.ConditionTrue, reason: v1alpha1.ReasonTwoMachines, again: left, message: fmt.Sprintf(
		"a second machine, which calls itself %q, uses the same keys (a cloned VM?) and is turned away: give it a Host of its own and enrol it anew",
		set.Status.Duplicate.Hostname)}, true
}
