package report

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	// duplicateRetry is how long the second of two machines with the same keys is to stay away, in seconds.
	duplicateRetry = 300
	// duplicateRenew is how often its attempts are written down.
	duplicateRenew = time.Minute
	// duplicateForgotten is how long after its last attempt a duplicate no longer counts.
	duplicateForgotten = 30 * time.Minute
)

// Newcomer is an authenticated session that is not on record yet.
type Newcomer struct {
	Session
	// SigningKey is the one that the hello was verified with, base64.
	SigningKey string
	// Hello is what the machine says of itself, and Skew its clock minus ours.
	Hello *wire.HelloBody
	Skew  time.Duration
	// Holds tells whether this replica still holds an older session of the host.
	Holds func(counter int64) bool
}

// Connect puts a session on record, which is the one write of a reconnect, and returns the record, for Session. A *wire.Error says why it may not be.
func (w *Writer) Connect(ctx context.Context, n Newcomer) (*Record, error) {
	var refusal *wire.Error
	var uid string
	var record *Record
	again := false
	err := w.changeSet(ctx, n.Host, func(set *v1alpha1.ScheduleSet) error {
		refusal, uid, again = nil, set.Spec.Host.UID, set.Status.Connection != nil
		if set.Spec.Host.Identity.SigningKey != n.SigningKey {
			refusal = &wire.Error{Code: wire.CodeBadSignature, Message: fmt.Sprintf("the identity of Host %s has changed", n.Host)}
			return errUnchanged
		}
		old := set.Status.Connection
		if old != nil && old.Session >= n.Counter {
			refusal = &wire.Error{Code: wire.CodeStaleSession, Session: old.Session,
				Message: fmt.Sprintf("session %d is on record, %d is not newer", old.Session, n.Counter)}
			return errUnchanged
		}
		if w.isDuplicate(old, n) {
			refusal = &wire.Error{Code: wire.CodeDuplicateIdentity, RetryAfterSeconds: duplicateRetry,
				Message: fmt.Sprintf("another machine with the keys of Host %s is connected: enrol this one as a Host of its own", n.Host)}
			return w.noteDuplicate(set, n)
		}
		w.noteConnection(set, n)
		record = &Record{set.Status.AppliedRevision, set.Status.AppliedSerial, set.Status.Refusal != nil, set.Status.NotAllowed}
		return nil
	})
	if apierrors.IsNotFound(err) {
		return nil, &wire.Error{Code: wire.CodeUnknownHost, Message: fmt.Sprintf("nothing is published for Host %s", n.Host)}
	}
	if err != nil {
		return nil, fmt.Errorf("writing the connection: %w", err)
	}
	if refusal == nil {
		if again {
			w.o.Meter.Reconnected()
		}
		return record, nil
	}
	if refusal.Code == wire.CodeDuplicateIdentity {
		err := w.emit(ctx, event{host: n.Host, hostUID: uid, kind: corev1.EventTypeWarning, reason: v1alpha1.EventDuplicateIdentity,
			action: "Connect", id: n.Process,
			note: fmt.Sprintf("A second machine with the same keys (it calls itself %q) was turned away: a cloned VM? Enrol it as a Host of its own.",
				n.Hello.System.Hostname)})
		if err != nil {
			w.o.Logger.Warn("event not written", "host", n.Host.String(), "reason", v1alpha1.EventDuplicateIdentity, "error", err)
		}
	}
	return nil, refusal
}

// isDuplicate: a process that another one took over from has come back, so both live. While the other is known to be gone, the one that
// came back may have the connection.
func (w *Writer) isDuplicate(old *v1alpha1.Connection, n Newcomer) bool {
	if old == nil || n.Process == old.Process || n.Process != old.PreviousProcess || old.DisconnectedTime != nil {
		return false
	}
	return old.Gateway != w.o.Gateway || n.Holds(old.Session)
}

func (w *Writer) noteDuplicate(set *v1alpha1.ScheduleSet, n Newcomer) error {
	d := set.Status.Duplicate
	if d != nil && d.Process == n.Process && w.o.Clock.Since(d.LastSeen.Time) < duplicateRenew {
		return errUnchanged
	}
	set.Status.Duplicate = &v1alpha1.DuplicateIdentity{Process: n.Process, Hostname: n.Hello.System.Hostname, LastSeen: w.now()}
	return nil
}

func (w *Writer) noteConnection(set *v1alpha1.ScheduleSet, n Newcomer) {
	now := w.now()
	connection := &v1alpha1.Connection{Gateway: w.o.Gateway, Session: n.Counter, Process: n.Process, ConnectedTime: now}
	if old := set.Status.Connection; old != nil {
		connection.PreviousProcess = old.PreviousProcess
		if old.Process != n.Process {
			connection.PreviousProcess = old.Process
		}
	}
	set.Status.Connection = connection
	if d := set.Status.Duplicate; d != nil && w.o.Clock.Since(d.LastSeen.Time) > duplicateForgotten {
		set.Status.Duplicate = nil
	}
	noteAgent(set, n.Hello, n.Skew)
	set.Status.AppliedSerial = knownSerial(set, n.Hello.AppliedRevision, n.Hello.AppliedSerial)
	if set.Status.AppliedRevision != n.Hello.AppliedRevision {
		noteApplied(set, n.Hello.AppliedRevision, now)
	}
}

func noteApplied(set *v1alpha1.ScheduleSet, revision string, now metav1.Time) {
	set.Status.AppliedRevision, set.Status.AppliedTime = revision, &now
	if revision == "" {
		set.Status.AppliedTime = nil
	}
	if set.Status.Refusal != nil && set.Status.Refusal.Revision == revision {
		set.Status.Refusal = nil
	}
}

// knownSerial is what a machine says of the serial of its set, if anything follows from it; else 0. A serial that stands nowhere here may be of a set that was lost with the
// cluster's last hours. One that is later than all is kept: the controllers then begin anew. An agent of before tells none with an ack.
func knownSerial(set *v1alpha1.ScheduleSet, revision string, serial int64) int64 {
	switch {
	case serial == 0 && revision == set.Spec.Revision:
		return set.Spec.Serial
	case serial == 0 && revision != "" && revision == set.Status.AppliedRevision:
		return set.Status.AppliedSerial
	case serial >= set.Spec.Serial, serial == set.Status.AppliedSerial,
		slices.ContainsFunc(set.Spec.Groups, func(g v1alpha1.ScheduleSetGroup) bool { return g.Serial == serial }),
		slices.ContainsFunc(set.Spec.Schedules, func(s v1alpha1.ScheduleSetSchedule) bool { return s.Serial == serial }):
		return serial
	}
	return 0
}

// Disconnect writes that a session ended, unless a newer one is on record.
func (w *Writer) Disconnect(ctx context.Context, s Session, ended time.Time) error {
	err := w.changeSet(ctx, s.Host, func(set *v1alpha1.ScheduleSet) error {
		if !ours(set, s) || set.Status.Connection.DisconnectedTime != nil {
			return errUnchanged
		}
		set.Status.Connection.DisconnectedTime = &metav1.Time{Time: ended}
		return nil
	})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// SkewLimit is the clock difference that is worth a write whenever it is crossed; skewNoise the change that is not.
const (
	SkewLimit = time.Minute
	skewNoise = 30 * time.Second
)

// noteAgent puts what an agent said of itself on record. A clock difference that is hardly another stays as it is, since Host and conditions follow from it.
func noteAgent(set *v1alpha1.ScheduleSet, hello *wire.HelloBody, skew time.Duration) {
	agent := v1alpha1.AgentStatus{
		Version: hello.AgentVersion, Protocol: int32(min(hello.Protocol, 1<<30)), ResticVersion: hello.ResticVersion,
		OS: hello.System.OS, Arch: hello.System.Arch, Hostname: hello.System.Hostname,
		ClockSkewSeconds: int64(skew.Round(time.Second) / time.Second),
	}
	if old := set.Status.Agent; old != nil && !skewMoved(old.ClockSkewSeconds, agent.ClockSkewSeconds) {
		agent.ClockSkewSeconds = old.ClockSkewSeconds
	}
	set.Status.Agent = &agent
}

func skewMoved(before, now int64) bool {
	limit := int64(SkewLimit / time.Second)
	return abs(now-before) > int64(skewNoise/time.Second) || (abs(now) > limit) != (abs(before) > limit)
}

func abs(n int64) int64 {
	if n < 0 {
		return -n
	}
	return n
}
