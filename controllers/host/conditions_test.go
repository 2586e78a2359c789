package host

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/controllers/compile"
	"github.com/restic-manager/restic-manager/controllers/internal/convert"
)

// short is a verdict without its message.
func short(v verdictOn) string {
	s := string(v.status) + " " + v.reason
	if v.again > 0 {
		s += " again in " + v.again.String()
	}
	return s
}

func at(d time.Duration) *metav1.Time { return &metav1.Time{Time: noon.Add(d)} }

func TestConnected(t *testing.T) {
	session := &v1alpha1.Connection{Gateway: "g1", Session: 7}
	was := func(status metav1.ConditionStatus, reason string) *metav1.Condition {
		return &metav1.Condition{Status: status, Reason: reason}
	}
	tests := []struct {
		name       string
		connection *v1alpha1.Connection
		gateway    Life
		before     *metav1.Condition
		want       string
	}{
		{"no session yet", nil, Life{}, nil, "False NeverConnected"},
		{"a session on a living gateway", session, Life{State: Alive}, nil, "True SessionEstablished"},
		{"a session that ended", &v1alpha1.Connection{Gateway: "g1", DisconnectedTime: at(0)}, Life{State: Alive}, nil, "False Disconnected"},
		{"a session on a gateway that nothing is known of yet", session, Life{}, nil, "True SessionEstablished"},
		{"the same, which was held for lost before the controllers restarted", session, Life{}, was("False", "GatewayLost"), "False GatewayLost"},
		{"the same, which was only disconnected before", session, Life{}, was("False", "Disconnected"), "True SessionEstablished"},
		{"a gateway that is lost since a minute", session, Life{Lost, noon.Add(-time.Minute)}, was("True", "SessionEstablished"), "True SessionEstablished again in 30s"},
		{"a gateway that is lost since 90 seconds", session, Life{Lost, noon.Add(-90 * time.Second)}, was("True", "SessionEstablished"), "False GatewayLost"},
		{"once lost, a gateway that is found lost anew changes nothing", session, Life{Lost, noon}, was("False", "GatewayLost"), "False GatewayLost"},
		{"a lost gateway that renews again", session, Life{State: Alive}, was("False", "GatewayLost"), "True SessionEstablished"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := short(connected(tt.connection, tt.gateway, tt.before, noon)); got != tt.want {
				t.Errorf("connected is %q, want %q", got, tt.want)
			}
		})
	}
}

func TestApplied(t *testing.T) {
	set := func(age time.Duration, status v1alpha1.ScheduleSetStatus) *v1alpha1.ScheduleSet {
		return &v1alpha1.ScheduleSet{Spec: v1alpha1.ScheduleSetSpec{Revision: "r2", Serial: noon.Add(-age).UnixMicro()}, Status: status}
	}
	yes := &metav1.Condition{Status: metav1.ConditionTrue}
	no := &metav1.Condition{Status: metav1.ConditionFalse}
	older := v1alpha1.ScheduleSetStatus{AppliedRevision: "r1"}
	tests := []struct {
		name   string
		set    *v1alpha1.ScheduleSet
		before *metav1.Condition
		want   string
		keep   bool
	}{
		{"nothing published", nil, nil, "False NotPublished", false},
		{"the published one is acked", set(0, v1alpha1.ScheduleSetStatus{AppliedRevision: "r2"}), no, "True Applied", false},
		{"never acked any", set(0, v1alpha1.ScheduleSetStatus{}), nil, "False Pending", false},
		{"a change a moment ago leaves it as it was", set(10*time.Second, older), yes, "  again in 20s", true},
		{"after the grace it is pending", set(30*time.Second, older), yes, "False Pending", false},
		{"a change a moment ago does not make true what was not", set(10*time.Second, older), no, "False Pending", false},
		{"a clock that was set back gives no endless grace", set(-time.Hour, older), yes, "False Pending", false},
		{"a refusal is told at once", set(time.Second, v1alpha1.ScheduleSetStatus{AppliedRevision: "r1", Refusal: &v1alpha1.Refusal{Revision: "r2", Reason: "BadSignature"}}), yes,
			"False RefusedByAgent", false},
		{"a refusal of an older one is history", set(time.Minute, v1alpha1.ScheduleSetStatus{AppliedRevision: "r1", Refusal: &v1alpha1.Refusal{Revision: "r0"}}), yes,
			"False Pending", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, keep := applied(tt.set, true, tt.before, noon)
			if short(got) != tt.want || keep != tt.keep {
				t.Errorf("applied is %q, keep %v; want %q, %v", short(got), keep, tt.want, tt.keep)
			}
		})
	}
}

func TestRepositoryReady(t *testing.T) {
	const url = "rest:https://backup.example.com/web-1/"
	report := func(state, reason, at string) *v1alpha1.RepositoryStatus {
		return &v1alpha1.RepositoryStatus{State: state, Reason: reason, Message: "m", URL: at}
	}
	tests := []struct {
		name   string
		url    string
		report *v1alpha1.RepositoryStatus
		want   string
	}{
		{"nothing was reported", url, nil, "Unknown NotReported"},
		{"it was opened", url, report("Ready", "", url), "True RepositoryOpened"},
		{"restic retries", url, report("Retrying", "Unreachable", url), "False Retrying"},
		{"the machine's reason is the condition's", url, report("Failed", "WrongPassword", url), "False WrongPassword"},
		{"a reason that is none is replaced", url, report("Failed", "wrong password!", url), "False Failed"},
		{"a report about another repository does not count", url, report("Ready", "", "rest:https://old.example.com/web-1/"), "Unknown NotReported"},
		{"a user name is not reported", "sftp://backup@nas.example.com/srv", report("Ready", "", "sftp://nas.example.com/srv"), "True RepositoryOpened"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			host := &v1alpha1.Host{}
			host.Spec.Repository.URL, host.Status.Repository = tt.url, tt.report
			if got := short(repositoryReady(host)); got != tt.want {
				t.Errorf("repositoryReady is %q, want %q", got, tt.want)
			}
		})
	}
}

func TestClockSynchronised(t *testing.T) {
	tests := []struct {
		name  string
		agent *v1alpha1.AgentStatus
		want  string
		says  string
	}{
		{"nobody connected yet", nil, "Unknown NotReported", ""},
		{"within a minute", &v1alpha1.AgentStatus{ClockSkewSeconds: -60}, "True WithinLimit", ""},
		{"ahead", &v1alpha1.AgentStatus{ClockSkewSeconds: 61}, "False Skewed", "1m1s ahead of"},
		{"behind", &v1alpha1.AgentStatus{ClockSkewSeconds: -3600}, "False Skewed", "1h0m0s behind"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := clockSynchronised(tt.agent)
			if short(got) != tt.want || !strings.Contains(got.message, tt.says) {
				t.Errorf("clockSynchronised is %q, %q; want %q, %q", short(got), got.message, tt.want, tt.says)
			}
		})
	}
}

func TestDuplicate(t *testing.T) {
	seen := func(ago time.Duration) *v1alpha1.ScheduleSet {
		return &v1alpha1.ScheduleSet{Status: v1alpha1.ScheduleSetStatus{Duplicate: &v1alpha1.DuplicateIdentity{Hostname: "clone", LastSeen: *at(-ago)}}}
	}
	if v, present := duplicate(seen(5*time.Minute), noon); !present || short(v) != "True TwoMachines again in 25m0s" || !strings.Contains(v.message, `"clone"`) {
		t.Errorf("a second machine five minutes ago: %v, %+v", present, v)
	}
	for name, set := range map[string]*v1alpha1.ScheduleSet{"no set": nil, "never": {}, "long ago": seen(30 * time.Minute)} {
		if _, present := duplicate(set, noon); present {
			t.Errorf("%s: the condition is there", name)
		}
	}
}

func TestEnrolled(t *testing.T) {
	token := tokenFor("t1")
	hash := wire.TokenIDHash("t1")
	pinned := func(by string, verdict *wire.Identity) func(*v1alpha1.Host) {
		return func(h *v1alpha1.Host) {
			h.Spec.Identity = convert.HostIdentity(machine(1))
			if by != "" {
				h.Annotations = map[string]string{v1alpha1.AnnotationEnrolledWith: by}
			}
			if verdict != nil {
				h.Status.Enrollment = &v1alpha1.EnrollmentStatus{UsedTokenIDHash: hash, Verdict: verdictAbout(request(token, verdict), wire.EnrolApproved)}
			}
		}
	}
	record := func(e *v1alpha1.EnrollmentStatus) func(*v1alpha1.Host) {
		return func(h *v1alpha1.Host) { h.Status.Enrollment = e }
	}
	tests := []struct {
		name   string
		change func(*v1alpha1.Host)
		want   string
		says   string
	}{
		{"a new Host", func(*v1alpha1.Host) {}, "False WaitingForMachine", ""},
		{"an open token", record(openToken(token)), "False WaitingForMachine", "kubectl -n shop get secret web-1-enrollment -o jsonpath='{.data.command}' | base64 -d"},
		{"an expired token", record(openToken(token, func(e *v1alpha1.EnrollmentStatus) { e.ExpiresAt = at(0) })), "False TokenExpired",
			"kubectl -n shop annotate hosts.backup.restic-manager.io web-1 --overwrite backup.restic-manager.io/mint-enrollment-token="},
		{"a void token", record(&v1alpha1.EnrollmentStatus{FailedAttempts: 5}), "False TokenVoid", "5 wrong proofs"},
		{"keys pinned by an enrolment", pinned(hash, machine(1)), "True IdentityPinned", ""},
		{"keys given in Git", pinned("", nil), "True IdentityGiven", ""},
		{"keys that a person wrote over the pinned ones", pinned(hash, machine(2)), "True IdentityGiven", ""},
		{"keys pinned by an enrolment whose status was lost", pinned(hash, nil), "True IdentityPinned", ""},
		{"a token for another machine", func(h *v1alpha1.Host) {
			pinned("older", nil)(h)
			h.Status.Enrollment = openToken(token)
		}, "True IdentityPinned", "a token to replace them is in Secret web-1-enrollment"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			host := &v1alpha1.Host{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-1"}}
			tt.change(host)
			identity, err := identityOf(host)
			if err != nil {
				t.Fatal(err)
			}
			got := enrolled(host, identity, noon)
			if short(got) != tt.want || !strings.Contains(got.message, tt.says) {
				t.Errorf("enrolled is %q, %q; want %q, %q", short(got), got.message, tt.want, tt.says)
			}
		})
	}
}

func TestReadySaysWhatWasLeftOut(t *testing.T) {
	finding := func(name, reason string) compile.Finding {
		return compile.Finding{Kind: compile.KindSchedule, Name: name, Field: "spec.cron", Reason: reason, Message: "wrong"}
	}
	set := &v1alpha1.ScheduleSet{Spec: v1alpha1.ScheduleSetSpec{Groups: make([]v1alpha1.ScheduleSetGroup, 2), Schedules: make([]v1alpha1.ScheduleSetSchedule, 1)}}
	tests := []struct {
		name     string
		suspend  bool
		findings []compile.Finding
		want     string
	}{
		{"nothing", false, nil, "Published: published 1 schedule for 2 source groups"},
		{"a suspended host", true, nil, "Suspended: published 1 schedule for 2 source groups; spec.suspend stops all of them"},
		{"an invalid schedule", false, []compile.Finding{finding("a", "Invalid"), finding("b", "SourceGroupNotFound")},
			"Published: published 1 schedule for 2 source groups; left out: Schedule a: spec.cron: wrong"},
		{"many", false, []compile.Finding{finding("a", "Invalid"), finding("b", "Invalid"), finding("c", "Invalid"), finding("d", "Invalid"), finding("e", "Invalid")},
			"Published: published 1 schedule for 2 source groups; left out: Schedule a: spec.cron: wrong; Schedule b: spec.cron: wrong; Schedule c: spec.cron: wrong; and 2 more"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			host := &v1alpha1.Host{Spec: v1alpha1.HostSpec{Suspend: tt.suspend}}
			reason, message := ready(host, &facts{identity: machine(1), set: set, findings: tt.findings})
			if got := reason + ": " + message; got != tt.want {
				t.Errorf("ready is\n%s, want\n%s", got, tt.want)
			}
		})
	}
}
