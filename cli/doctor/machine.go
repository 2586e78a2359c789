package doctor

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/cli/query"
	"github.com/restic-manager/restic-manager/cli/terminal"
)

const (
	// maxSkew is how far a clock may be off, as the controllers see it.
	maxSkew = time.Minute
	// soon is how long before its end a certificate is worth a word.
	soon = 14 * 24 * time.Hour
	// little is how much of a disk must be free, and at least.
	littlePercent = 5
	littleBytes   = 1 << 30
	// oldestRestic is the oldest that works.
	oldestResticMinor = 18
)

func (j *judgement) connection() {
	c := j.condition(v1alpha1.ConditionConnected)
	onMachine := "systemctl status restic-manager-agent; journalctl -u restic-manager-agent -n 50   # on the machine"
	switch {
	case j.connected():
		j.fine(LinkConnection, "the agent is connected")
	case c == nil || c.Reason == v1alpha1.ReasonNeverConnected:
		j.wrong(LinkConnection, "sudo systemctl enable --now restic-manager-agent   # on the machine", "the machine is enrolled and its agent has never connected")
	case c.Reason == v1alpha1.ReasonGatewayLost:
		j.wrong(LinkConnection, "kubectl -n restic-manager-system get pods", "the gateway replica that held the agent is gone, and the agent has not come back: %s", c.Message)
	default:
		j.wrong(LinkConnection, onMachine, "the agent is not connected since %s: %s", terminal.Ago(c.LastTransitionTime.Time, j.Now), c.Message)
	}
}

func (j *judgement) identity() {
	if c := j.condition(v1alpha1.ConditionDuplicateIdentity); c != nil && c.Status == metav1.ConditionTrue {
		j.wrong(LinkIdentity, "sudo rm -r /var/lib/restic-manager /etc/restic-manager   # on the copy, and enrol it as a Host of its own", "two machines use the same keys, one is a copy of the other: %s", c.Message)
	}
}

func (j *judgement) gateway() {
	g := j.Gateway
	switch {
	case !g.Dialled:
		j.skip(LinkGateway, "it is known only to who may ask a machine (role edit)")
	case query.ProblemOf(g.Err) == query.ProblemForged:
		j.wrong(LinkGateway, "kubectl -n restic-manager-system get deployment restic-manager-controller -o yaml | grep -e gateway-url -e gateway-ca-file", "%v", g.Err)
	case g.Err != nil:
		j.warn(LinkGateway, "kubectl -n restic-manager-system port-forward deployment/restic-manager-gateway 8443   # then: --gateway-address localhost:8443", "%s cannot be reached from here: %v", g.URL, g.Err)
	case !g.NotAfter.IsZero() && g.NotAfter.Before(j.Now):
		j.wrong(LinkGateway, "kubectl -n restic-manager-system get secret,certificate", "the certificate of %s has expired %s ago", g.URL, terminal.Ago(g.NotAfter, j.Now))
	case !g.NotAfter.IsZero() && g.NotAfter.Before(j.Now.Add(soon)):
		j.warn(LinkGateway, "kubectl -n restic-manager-system get secret,certificate", "the certificate of %s ends on %s", g.URL, g.NotAfter.Format(time.DateOnly))
	default:
		j.fine(LinkGateway, "%s answers with the expected certificate", g.URL)
	}
}

// machine is about the answer to the diagnosis.
func (j *judgement) machine() {
	switch p := query.ProblemOf(j.AskErr); {
	case j.Diagnosis != nil:
		j.fine(LinkMachine, "it answers: %s, %s/%s, agent since %s", terminal.OneLine(j.Diagnosis.Hostname), terminal.OneLine(j.Diagnosis.OS), terminal.OneLine(j.Diagnosis.Arch),
			terminal.Ago(j.Diagnosis.StartTime, j.Now))
	case !j.Asked:
		j.skip(LinkMachine, "it was not asked")
	case apierrors.IsForbidden(j.AskErr):
		j.skip(LinkMachine, "you may not ask it (create on hostqueries, role edit)")
	case !j.connected():
		j.skip(LinkMachine, "it is not connected")
	case p == query.Problem(wire.AnswerNotAllowed), p == query.ProblemRefused:
		j.warn(LinkMachine, "", "%v", j.AskErr)
	case p == query.ProblemUnreachable:
		j.skip(LinkMachine, "the gateway cannot be reached from here")
	case p == query.ProblemNotSigned:
		j.wrong(LinkMachine, "kubectl -n restic-manager-system get deployment restic-manager-controller", "%v", j.AskErr)
	default:
		j.wrong(LinkMachine, j.plugin("doctor %s", j.Name), "it does not answer: %v", j.AskErr)
	}
}

func (j *judgement) versions() {
	a, d := j.Host.Status.Agent, j.Diagnosis
	restic := ""
	switch {
	case d != nil:
		restic = d.Restic
	case a != nil:
		restic = a.ResticVersion
	default:
		j.skip(LinkVersions, "the machine has not connected yet")
		return
	}
	switch {
	case restic == "":
		why := "no usable restic was found"
		if d != nil && d.ResticError != "" {
			why = terminal.OneLine(d.ResticError)
		}
		j.wrong(LinkVersions, "sudo apt-get install restic   # on the machine, 0.18 or newer; or set restic in agent.yaml", "the machine has no restic: %s", why)
	case tooOld(restic):
		j.wrong(LinkVersions, "sudo restic self-update   # on the machine", "restic %s is too old: 0.%d or newer is needed", terminal.OneLine(restic), oldestResticMinor)
	default:
		agent := ""
		if a != nil {
			agent = a.Version
		}
		j.fine(LinkVersions, "agent %s, restic %s", terminal.OneLine(agent), terminal.OneLine(restic))
	}
}

// tooOld is false for what is no version: the agent judges better.
func tooOld(restic string) bool {
	parts := strings.SplitN(restic, ".", 3)
	if len(parts) < 2 || parts[0] != "0" {
		return false
	}
	minor, err := strconv.Atoi(parts[1])
	return err == nil && minor < oldestResticMinor
}

func (j *judgement) clock() {
	skew, known := time.Duration(0), false
	switch {
	case j.Diagnosis != nil:
		skew, known = j.Diagnosis.Time.Sub(j.Received), true
		if skew.Abs() < j.RoundTrip+time.Second {
			skew = 0
		}
	case j.Host.Status.Agent != nil:
		skew, known = time.Duration(j.Host.Status.Agent.ClockSkewSeconds)*time.Second, true
	}
	switch {
	case !known:
		j.skip(LinkClock, "the machine has not connected yet")
	case skew.Abs() > maxSkew:
		direction := "ahead"
		if skew < 0 {
			direction = "behind"
		}
		j.wrong(LinkClock, "timedatectl set-ntp true   # on the machine", "its clock is %s %s: backups run at the wrong time, and signed work counts as expired", skew.Abs().Round(time.Second), direction)
	default:
		j.fine(LinkClock, "its clock is right")
	}
}

func (j *judgement) set() {
	c := j.condition(v1alpha1.ConditionScheduleSetApplied)
	switch {
	case apierrors.IsForbidden(j.SetErr) || c == nil && j.SetErr != nil:
		j.skip(LinkSet, "it cannot be read: %v", j.SetErr)
	case j.Set == nil:
		j.wrong(LinkSet, j.kubectl("describe host %s", j.Name), "nothing is published for the machine yet: see the condition Ready")
	case j.Set.Status.Refusal != nil && j.Set.Status.Refusal.Revision == j.Set.Spec.Revision:
		r := j.Set.Status.Refusal
		fix := j.kubectl("describe scheduleset %s", j.Name)
		if r.Reason == string(wire.RefusalBadSignature) || r.Reason == string(wire.RefusalWrongIdentity) {
			fix = j.plugin("enroll %s --again", j.Name)
		}
		j.wrong(LinkSet, fix, "the machine refused the published set (%s): %s", r.Reason, terminal.OneLine(r.Message))
	case j.Set.Status.AppliedRevision == j.Set.Spec.Revision:
		j.fine(LinkSet, "the machine runs the published set: %s, %s", terminal.Count(int64(len(j.Set.Spec.Schedules)), "schedule"), terminal.Count(int64(len(j.Set.Spec.Groups)), "group"))
	case !j.connected():
		j.skip(LinkSet, "the newest set waits until the machine is connected")
	default:
		j.warn(LinkSet, j.kubectl("get scheduleset %s -w", j.Name), "the machine has not confirmed the newest set yet")
	}
}

func (j *judgement) consent() {
	if j.Set == nil || len(j.Set.Status.NotAllowed) == 0 {
		return
	}
	n := j.Set.Status.NotAllowed[0]
	j.wrong(LinkConsent, fmt.Sprintf("sudo editor /etc/restic-manager/agent.yaml   # on the machine: allow.%s; then restart the agent", n.What),
		"the machine's owner does not allow %s of group %s: %s", n.What, n.SourceGroup, terminal.OneLine(n.Message))
}

func (j *judgement) disks() {
	if j.Diagnosis == nil {
		j.skip(LinkDisk, "only the machine knows, and it was not asked or did not answer")
		return
	}
	full := false
	for _, d := range j.Diagnosis.Disks {
		if d.BytesTotal <= 0 {
			continue
		}
		if d.BytesFree < littleBytes && d.BytesFree*100 < d.BytesTotal*littlePercent || d.BytesFree == 0 {
			full = true
			j.wrong(LinkDisk, fmt.Sprintf("df -h %s; sudo restic cache --cleanup --cache-dir /var/lib/restic-manager/cache   # on the machine", terminal.OneLine(d.Path)),
				"only %s of %s are free where %s lies", terminal.Bytes(d.BytesFree), terminal.Bytes(d.BytesTotal), terminal.OneLine(d.Path))
		}
	}
	if !full {
		var parts []string
		for _, d := range j.Diagnosis.Disks {
			part := fmt.Sprintf("%s free for %s", terminal.Bytes(d.BytesFree), terminal.OneLine(d.Path))
			if !slices.Contains(parts, part) {
				parts = append(parts, part)
			}
		}
		j.fine(LinkDisk, "%s", strings.Join(parts, ", "))
	}
}
