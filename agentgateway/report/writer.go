package report

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"
	"unicode/utf8"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"github.com/restic-manager/restic-manager/agentgateway/internal/pace"
	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/retry"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Meter counts what is written.
type Meter interface {
	// Wrote counts a write of an object of this resource, for instance hosts.
	Wrote(resource string)
	// Reported counts a durable report: stored, repeated or discarded.
	Reported(result string)
	// Delayed is told how long after the end of a job, by the machine's clock, its result was stored.
	Delayed(by time.Duration)
	// Reconnected counts a connection of a machine that had been connected before.
	Reconnected()
}

// Options of a Writer. All are required.
type Options struct {
	// Client writes; Live reads from the API server itself; Cache reads ScheduleSets and HostJobs, of which it has what package slim leaves.
	Client client.Client
	Live   client.Reader
	Cache  client.Reader
	// Gateway is the instance id of this replica.
	Gateway string
	Clock   clock.Clock
	Meter   Meter
	Logger  *slog.Logger
}

// Writer writes what machines say. It is safe for concurrent use.
type Writer struct {
	o    Options
	pace *pace.Limits
	// turns bounds the messages that are being stored: when ten thousand machines answer at once, more requests under way make the API server slower for everybody.
	turns chan struct{}
}

// What one host may have written: a backlog of some days at once, and then a result every half second. It holds across its sessions.
const (
	pacePerSecond = 2
	paceBurst     = 300
)

// maxTurns is how many messages of all hosts are stored at once, turnTimeout how long one may take.
const (
	maxTurns    = 16
	turnTimeout = time.Minute
)

// NewWriter returns a Writer.
func NewWriter(o Options) *Writer {
	return &Writer{o: o, pace: pace.New(pacePerSecond, paceBurst), turns: make(chan struct{}, maxTurns)}
}

// Session is who says it.
type Session struct {
	Host    wire.HostRef
	Counter int64
	Process string
	// Greeted is the revision that the machine said it has in force when it connected.
	Greeted string
	// Record is what Connect returned, as long as the session has written nothing else to its ScheduleSet; nil when that is not known.
	Record *Record
}

// errUnchanged ends a change without a write.
var errUnchanged = errors.New("unchanged")

func key(host wire.HostRef) types.NamespacedName {
	return types.NamespacedName{Namespace: host.Namespace, Name: host.Name}
}

// change applies a function to a live object's status and writes the difference, again from a new read on conflict. errUnchanged of
// apply is not an error.
func change[T any, P interface {
	*T
	client.Object
}](ctx context.Context, w *Writer, resource string, name types.NamespacedName, apply func(P) error) error {
	return retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		object := P(new(T)) // anew each time: decoding leaves what is absent as it was
		if err := w.o.Live.Get(ctx, name, object); err != nil {
			return err
		}
		_, err := patch(ctx, w, resource, object, apply)
		return err
	})
}

// patch is change for an object that was just read. It tells whether it wrote. Nobody reads the object afterwards, so the API server is asked for the metadata alone: a
// whole ScheduleSet, with its bundle, would be encoded and decoded for nothing.
func patch[T client.Object](ctx context.Context, w *Writer, resource string, object T, apply func(T) error) (bool, error) {
	before, err := json.Marshal(statusOf(object)) // now: apply may change what it points to
	if err != nil {
		return false, err
	}
	if err := apply(object); errors.Is(err, errUnchanged) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	after, err := json.Marshal(statusOf(object))
	if err != nil || bytes.Equal(before, after) {
		return false, err
	}
	data, err := difference(object.GetResourceVersion(), before, after)
	if err != nil {
		return false, err
	}
	kind, err := w.o.Client.GroupVersionKindFor(object)
	if err != nil {
		return false, err
	}
	reply := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: object.GetNamespace(), Name: object.GetName()}}
	reply.SetGroupVersionKind(kind)
	if err := w.o.Client.Status().Patch(ctx, reply, client.RawPatch(types.MergePatchType, data), client.FieldOwner(v1alpha1.ManagerGateway)); err != nil {
		return false, err
	}
	w.o.Meter.Wrote(resource)
	return true, nil
}

// statusOf is what the gateway may write of an object.
func statusOf(object client.Object) any {
	switch o := object.(type) {
	case *v1alpha1.Host:
		return &o.Status
	case *v1alpha1.HostJob:
		return &o.Status
	case *v1alpha1.ScheduleSet:
		return &o.Status
	}
	panic(fmt.Sprintf("report writes no %T", object))
}

// difference is the merge patch from one status to another, which is a conflict unless the object still has this version.
func difference(version string, before, after []byte) ([]byte, error) {
	status, err := jsonpatch.CreateMergePatch(before, after)
	if err != nil {
		return nil, err
	}
	if version == "" {
		return nil, errors.New("an object without a resourceVersion was to be written")
	}
	return fmt.Appendf(nil, `{"metadata":{"resourceVersion":%q},"status":%s}`, version, status), nil
}

// changeCached is change that begins with what the cache has, which costs no request: a write that rests on an older version is a conflict. That nothing is to be
// written is said by a live read alone.
func changeCached[T any, P interface {
	*T
	client.Object
}](ctx context.Context, w *Writer, resource string, name types.NamespacedName, apply func(P) error) error {
	cached := P(new(T))
	if err := w.o.Cache.Get(ctx, name, cached); err == nil {
		if written, err := patch(ctx, w, resource, cached, apply); written || err != nil && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
			return err
		}
	}
	return change(ctx, w, resource, name, apply)
}

// changeSet is changeCached for the ScheduleSet of a host.
func (w *Writer) changeSet(ctx context.Context, host wire.HostRef, apply func(*v1alpha1.ScheduleSet) error) error {
	return changeCached(ctx, w, "schedulesets", key(host), apply)
}

// ours tells whether a session is the one on record: the write of an older one is dropped.
func ours(set *v1alpha1.ScheduleSet, s Session) bool {
	c := set.Status.Connection
	return c != nil && c.Session == s.Counter
}

func (w *Writer) now() metav1.Time { return metav1.NewTime(w.o.Clock.Now()) }

// clamp is a machine's time, never later than when it was received; nil when it said none.
func clamp(t, received time.Time) *metav1.Time {
	if t.IsZero() || t.Year() < 1970 {
		return nil
	}
	if t.After(received) {
		t = received
	}
	return &metav1.Time{Time: t.UTC().Truncate(time.Second)}
}

// cut shortens a text to a number of bytes, at a rune.
func cut(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	for limit > 0 && !utf8.RuneStart(text[limit]) {
		limit--
	}
	return text[:limit]
}

func cutAll(texts []string, count, limit int) []string {
	var out []string
	for _, text := range texts[:min(len(texts), count)] {
		out = append(out, cut(strings.ToValidUTF8(text, "\uFFFD"), limit))
	}
	return out
}
