package signing

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/controllers/internal/objectwatch"
)

const (
	// DefaultOverlap is how long a retired key signs at least.
	DefaultOverlap = 90 * 24 * time.Hour
	// countPause is between two counts of the machines while a rotation is under way.
	countPause = 20 * time.Second
	// outagePause is between tries while the Secret cannot be read or written.
	outagePause = 15 * time.Second
	// idlePause is between looks otherwise: a change is noticed at once, where it may be watched.
	idlePause = 10 * time.Minute
	// maxRaces is how often a lost race is tried again at once.
	maxRaces = 5
)

// Progress tells others how far a rotation is. The zero value knows of none. Safe for concurrent use.
type Progress struct{ record atomic.Pointer[Record] }

// Waiting is how many machines have not heard yet; underway is false when no rotation is.
func (p *Progress) Waiting() (waiting int, underway bool) {
	if r := p.record.Load(); r.Underway() {
		return r.Waiting, true
	}
	return 0, false
}

// Rotator keeps the keys of a Ring as they are in the Secret, and takes the steps of a rotation, on the replica that leads. All fields are required.
type Rotator struct {
	// Client reads, writes and watches live; Fleet reads Hosts and ScheduleSets from the cache.
	Client    client.WithWatch
	Fleet     client.Reader
	Namespace string
	Ring      *Ring
	// Overlap is how long a retired key signs at least, for machines that sleep.
	Overlap  time.Duration
	Progress *Progress
	Recorder events.EventRecorder
	Clock    clock.WithTicker
	Log      logr.Logger

	trouble objectwatch.Trouble
	last    *metav1.ObjectMeta // of the Secret, as it was seen last
}

// Start implements manager.Runnable.
func (r *Rotator) Start(ctx context.Context) error {
	watcher := objectwatch.Watcher{Client: r.Client, Clock: r.Clock}
	for ctx.Err() == nil {
		until, seen, err := r.round(ctx, watcher)
		r.tell(ctx, err)
		if err != nil {
			until = r.Clock.Now().Add(outagePause)
		}
		watcher.Wait(ctx, until, []objectwatch.Seen{seen})
	}
	return nil
}

// round takes the steps that are due. It returns when to look again.
func (r *Rotator) round(ctx context.Context, watcher objectwatch.Watcher) (time.Time, objectwatch.Seen, error) {
	for try := 1; ; try++ {
		until, seen, took, err := r.tryRound(ctx, watcher)
		if took || try < maxRaces && (apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err)) {
			continue
		}
		return until, seen, err
	}
}

func (r *Rotator) tryRound(ctx context.Context, watcher objectwatch.Watcher) (until time.Time, seen objectwatch.Seen, took bool, err error) {
	secret, seen, err := r.read(ctx, watcher)
	if err != nil {
		return time.Time{}, seen, false, err
	}
	keys, err := Load(secret)
	if err != nil {
		return time.Time{}, seen, false, fmt.Errorf("the keys that were read before stay in force: %w", err)
	}
	r.last = secret.ObjectMeta.DeepCopy()
	r.Ring.Set(keys)
	s := state{
		entries: keys.Entries(), record: parseRecord(secret.Annotations[v1alpha1.AnnotationSigningKeyRotation]), overlap: r.Overlap, now: r.Clock.Now(),
		rotate: secret.Annotations[v1alpha1.AnnotationRotateSigningKey], retire: secret.Annotations[v1alpha1.AnnotationRetireSigningKey],
		remove: secret.Annotations[v1alpha1.AnnotationRemoveSigningKey],
	}
	var fleet Fleet
	if s.underway() {
		if fleet, err = count(ctx, r.Fleet, keys); err != nil {
			return time.Time{}, seen, false, err
		}
	}
	next, again := decide(s, fleet)
	if again.IsZero() {
		again = s.now.Add(idlePause)
	}
	if next != stepNone {
		err := r.take(ctx, next, secret, s)
		return time.Time{}, seen, err == nil, err
	}
	return again, seen, false, r.record(ctx, secret, &seen, s, fleet)
}

// read returns the Secret. One that was deleted is written again from memory.
func (r *Rotator) read(ctx context.Context, watcher objectwatch.Watcher) (*corev1.Secret, objectwatch.Seen, error) {
	list := &corev1.SecretList{}
	seen, err := watcher.Look(ctx, list, SecretName, client.InNamespace(r.Namespace))
	secret := &corev1.Secret{}
	switch {
	case err == nil && len(list.Items) > 0:
		return &list.Items[0], seen, nil
	case apierrors.IsForbidden(err): // it may be got, and not listed
		if err = r.Client.Get(ctx, client.ObjectKey{Namespace: r.Namespace, Name: SecretName}, secret); err == nil {
			return secret, seen, nil
		}
	case err == nil:
		err = apierrors.NewNotFound(corev1.Resource("secrets"), SecretName)
	}
	if !apierrors.IsNotFound(err) {
		return nil, seen, err
	}
	secret = secretWith(r.Namespace, r.Ring.Keys().data)
	if r.last != nil {
		secret.Labels, secret.Annotations = maps.Clone(r.last.Labels), maps.Clone(r.last.Annotations)
	}
	if err := r.Client.Create(ctx, secret, client.FieldOwner(v1alpha1.ManagerControllers)); err != nil {
		return nil, seen, fmt.Errorf("it was deleted, and cannot be written again from memory: %w", err)
	}
	r.say(secret, corev1.EventTypeWarning, v1alpha1.EventSigningKeyProblem, "Restore",
		"the Secret was deleted and was written again from memory: keep a copy of it outside the cluster, since it cannot be when the controllers are not running")
	return secret, seen, nil
}

// take changes the Secret, and says so.
func (r *Rotator) take(ctx context.Context, next step, secret *corev1.Secret, s state) error {
	said, err := apply(next, secret, s)
	if err != nil {
		return err
	}
	if err := r.Client.Update(ctx, secret, client.FieldOwner(v1alpha1.ManagerControllers)); err != nil {
		return err
	}
	r.say(secret, corev1.EventTypeNormal, v1alpha1.EventSigningKey, string(next), said)
	return nil
}

// apply makes a step in the Secret that was read, and returns the sentence that tells it.
func apply(next step, secret *corev1.Secret, s state) (string, error) {
	newest := s.entries[len(s.entries)-1]
	record := &Record{Since: s.now.UTC().Truncate(time.Second), NewKey: newest.KeyID, Next: "the machines are counted in a moment"}
	if s.record != nil {
		record.Request = s.record.Request
	}
	said := ""
	switch next {
	case stepAnnounce:
		key, err := newKey()
		if err != nil {
			return "", err
		}
		secret.Data[entryOf(newest.Number+1, false)] = key
		record.Phase, record.Request, record.NewKey = PhaseAnnounced, s.rotate, ""
		said = fmt.Sprintf("a new signing key was made; everything is signed with it and with the old one (%s), and machines are told to trust both", newest.KeyID)
	case stepRetire:
		for _, e := range s.old() {
			if !e.Retired {
				secret.Data[entryOf(e.Number, true)] = secret.Data[e.Name]
				delete(secret.Data, e.Name)
			}
		}
		record.Phase = PhaseRetired
		said = fmt.Sprintf("machines are told to trust the new key (%s) alone; the old ones sign on, for machines that sleep", newest.KeyID)
	case stepRemove:
		for _, e := range s.old() {
			delete(secret.Data, e.Name)
		}
		record.Phase, record.Next = PhaseDone, ""
		said = fmt.Sprintf("the retired keys were deleted; the key in force is %s", newest.KeyID)
	}
	return said, annotate(secret, record)
}

// record writes how far a rotation is, when it differs.
func (r *Rotator) record(ctx context.Context, secret *corev1.Secret, seen *objectwatch.Seen, s state, fleet Fleet) error {
	if !s.underway() {
		r.Progress.record.Store(nil)
		return nil
	}
	now := s.recorded(fleet)
	r.Progress.record.Store(now)
	before := secret.Annotations[v1alpha1.AnnotationSigningKeyRotation]
	if err := annotate(secret, now); err != nil || secret.Annotations[v1alpha1.AnnotationSigningKeyRotation] == before {
		return err
	}
	if err := r.Client.Update(ctx, secret, client.FieldOwner(v1alpha1.ManagerControllers)); err != nil {
		return err
	}
	if seen.Watchable() {
		seen.Version = secret.ResourceVersion // what was just written is no news
	}
	return nil
}

func annotate(secret *corev1.Secret, record *Record) error {
	text, err := json.Marshal(record)
	if err != nil {
		return err
	}
	metav1.SetMetaDataAnnotation(&secret.ObjectMeta, v1alpha1.AnnotationSigningKeyRotation, string(text))
	return nil
}

func (r *Rotator) say(secret *corev1.Secret, kind, reason, action, text string) {
	r.Recorder.Eventf(secret, nil, kind, reason, action, "%s", text)
	r.Log.Info(text, "secret", SecretName)
}

// tell logs what hinders, once until it changes.
func (r *Rotator) tell(ctx context.Context, err error) {
	r.trouble.Note(ctx, err, func(text string) {
		r.Log.Error(errors.New(text), "cannot look after the signing keys", "secret", r.Namespace+"/"+SecretName, "retryAfter", outagePause.String())
	}, func(was string) { r.Log.Info("the signing keys are looked after again", "was", was) })
}
