package report

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// ReportingController is what the gateway's Events are from.
const ReportingController = "restic-manager-gateway"

// event is one thing to tell people about a Host.
type event struct {
	host    wire.HostRef
	hostUID string
	kind    string // Normal or Warning
	reason  string
	action  string
	note    string
	// id makes the name: the same event again is not a second one.
	id string
	// job is the HostJob that it is about, if any.
	job *v1alpha1.HostJob
}

// EventName is the deterministic name of an Event about a host.
func EventName(host wire.HostRef, reason, id string) string {
	sum := sha256.Sum256([]byte(reason + "\n" + id))
	name := strings.TrimRight(cut(host.Name, 200), "-.")
	return name + "." + hex.EncodeToString(sum[:10])
}

// Refused tells people that an enrolment was refused, once per id.
func (w *Writer) Refused(ctx context.Context, host *v1alpha1.Host, id, note string) error {
	return w.emit(ctx, event{host: wire.HostRef{Namespace: host.Namespace, Name: host.Name}, hostUID: string(host.UID),
		kind: corev1.EventTypeWarning, reason: v1alpha1.EventEnrolmentRefused, action: "Enrol", id: id, note: note})
}

// emit creates an Event. One of the same name is the same one, and stands already.
func (w *Writer) emit(ctx context.Context, e event) error {
	object := &eventsv1.Event{
		ObjectMeta:          metav1.ObjectMeta{Namespace: e.host.Namespace, Name: EventName(e.host, e.reason, e.id)},
		EventTime:           metav1.NewMicroTime(w.o.Clock.Now()),
		ReportingController: ReportingController,
		ReportingInstance:   cut(w.o.Gateway, 128),
		Action:              e.action,
		Reason:              e.reason,
		Type:                e.kind,
		Note:                cut(strings.ToValidUTF8(e.note, "\uFFFD"), 1024),
		Regarding: corev1.ObjectReference{APIVersion: v1alpha1.GroupVersion.String(), Kind: "Host", Namespace: e.host.Namespace,
			Name: e.host.Name, UID: types.UID(e.hostUID)},
	}
	if e.job != nil {
		object.Related = &corev1.ObjectReference{APIVersion: v1alpha1.GroupVersion.String(), Kind: "HostJob", Namespace: e.job.Namespace,
			Name: e.job.Name, UID: e.job.UID}
	}
	err := w.o.Client.Create(ctx, object)
	switch {
	case err == nil:
		w.o.Meter.Wrote("events")
		return nil
	case apierrors.IsAlreadyExists(err):
		return nil
	case hopeless(err) || apierrors.IsNotFound(err) || apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		// An Event is for people and never the record: what cannot be written must not hold up what can.
		w.o.Logger.Warn("event not written", "host", e.host.String(), "reason", e.reason, "error", err)
		return nil
	}
	return err
}

// hopeless: the API server will never take this object.
func hopeless(err error) bool {
	return apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) || apierrors.IsRequestEntityTooLargeError(err)
}
