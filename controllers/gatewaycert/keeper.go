package gatewaycert

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/tlspin"
	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/controllers/internal/objectwatch"
	"github.com/restic-manager/restic-manager/controllers/internal/pki"
	"github.com/restic-manager/restic-manager/controllers/internal/tidings"
)

// The second rule names the Secrets of the flag's documented value; another value needs a rule of its own where the operator is limited to some namespaces.
//+kubebuilder:rbac:groups="",namespace=restic-manager-system,resources=secrets,verbs=get;create
//+kubebuilder:rbac:groups="",namespace=restic-manager-system,resources=secrets,resourceNames=restic-manager-gateway-tls;restic-manager-gateway-tls-authority,verbs=get;list;watch;update

const (
	day = 24 * time.Hour
	// outagePause is between tries while something is wrong.
	outagePause = 15 * time.Second
	// blindPause is between looks when the Secrets cannot be watched.
	blindPause = 10 * time.Minute
	// maxRaces is how often a lost race is tried again at once.
	maxRaces = 5
)

// policy: a machine that slept for less than a year knows the new authority when it wakes.
var policy = pki.Policy{Subject: "restic-manager gateway", AuthorityLife: 3650 * day, CertificateLife: 90 * day, Settling: 365 * day}

// Keeper keeps the gateway's certificate, on the replica that leads.
type Keeper struct {
	// Client reads, writes and watches live.
	Client client.WithWatch
	// Namespace of the operator, and Name of the Secret in it.
	Namespace string
	Name      string
	// Names by which machines, people and other replicas reach the gateway, DNS names or IP addresses.
	Names []string
	Clock clock.WithTicker
	Log   logr.Logger
	// News tells those who publish pins.
	News *tidings.News

	pins    atomic.Pointer[[]string]
	trouble objectwatch.Trouble
}

// Pins of the authorities that machines are to trust, sorted; none before News is known.
func (k *Keeper) Pins() []string {
	if pins := k.pins.Load(); pins != nil {
		return *pins
	}
	return nil
}

// Start implements manager.Runnable. It ends with an error when a Secret is in the way: without pins nothing can be published.
func (k *Keeper) Start(ctx context.Context) error {
	watcher := objectwatch.Watcher{Client: k.Client, Clock: k.Clock}
	for ctx.Err() == nil {
		m, seen, err := k.keep(ctx, watcher)
		var foreign *ForeignError
		if errors.As(err, &foreign) {
			return foreign
		}
		k.tell(ctx, err)
		until := k.Clock.Now().Add(outagePause)
		if err == nil {
			k.publish(m)
			until = policy.Next(m, k.Names)
			if blind := k.Clock.Now().Add(blindPause); !watchable(seen) && blind.Before(until) {
				until = blind
			}
		}
		watcher.Wait(ctx, until, seen)
	}
	return nil
}

func watchable(all []objectwatch.Seen) bool {
	return !slices.ContainsFunc(all, func(s objectwatch.Seen) bool { return !s.Watchable() })
}

// publish tells what to pin, when it differs.
func (k *Keeper) publish(m pki.Material) {
	pins := make([]string, 0, len(m.Authorities))
	for _, a := range m.Authorities {
		pins = append(pins, tlspin.Pin(a.Certificate))
	}
	slices.Sort(pins)
	if before := k.pins.Swap(&pins); before == nil || !slices.Equal(*before, pins) {
		k.News.Tell()
	}
}

// keep brings both Secrets up to date and returns what they hold then.
func (k *Keeper) keep(ctx context.Context, watcher objectwatch.Watcher) (pki.Material, []objectwatch.Seen, error) {
	for try := 1; ; try++ {
		m, seen, err := k.tryKeep(ctx, watcher)
		if try < maxRaces && (apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err)) {
			continue
		}
		return m, seen, err
	}
}

func (k *Keeper) tryKeep(ctx context.Context, watcher objectwatch.Watcher) (pki.Material, []objectwatch.Seen, error) {
	authority, first, err := k.read(ctx, watcher, k.Name+authoritySuffix)
	if err != nil {
		return pki.Material{}, []objectwatch.Seen{first}, err
	}
	shown, second, err := k.read(ctx, watcher, k.Name)
	seen := []objectwatch.Seen{first, second}
	if err != nil {
		return pki.Material{}, seen, err
	}
	m, problems := materialOf(authority, shown)
	renewed, what, err := policy.Renew(m, k.Names, k.Clock.Now())
	if err != nil {
		return pki.Material{}, seen, err
	}
	// The authority first: what it signed must never outlive its key by a crash.
	entries, err := renewed.AuthorityEntries()
	if err != nil {
		return pki.Material{}, seen, err
	}
	if seen[0].Version, err = k.store(ctx, authority, first, k.Name+authoritySuffix, corev1.SecretTypeOpaque, entries); err != nil {
		return pki.Material{}, seen, err
	}
	if entries, err = renewed.CertificateEntries(); err != nil {
		return pki.Material{}, seen, err
	}
	entries[pki.EntryBundle] = renewed.Bundle()
	if seen[1].Version, err = k.store(ctx, shown, second, k.Name, corev1.SecretTypeTLS, entries); err != nil {
		return pki.Material{}, seen, err
	}
	if len(what) > 0 {
		k.Log.Info("made for the gateway: "+strings.Join(what, " and "), "secret", k.Name, "names", pki.NamesOf(renewed.Certificate.Leaf),
			"expires", renewed.Certificate.Leaf.NotAfter.UTC().Format(time.RFC3339), "authorities", len(renewed.Authorities))
	}
	if len(problems) > 0 && len(what) > 0 && (authority != nil || shown != nil) {
		k.Log.Info("replaced in the gateway's Secrets what could not be used", "because", strings.Join(problems, "; "))
	}
	return renewed, seen, nil
}

// materialOf puts together what two Secrets hold; nil for one that is not there. An authority whose Secret is lost is known by its certificate still.
func materialOf(authority, shown *corev1.Secret) (m pki.Material, problems []string) {
	if authority != nil {
		m.Authorities, problems = pki.ParseAuthorities(authority.Data)
	}
	if shown == nil {
		return m, problems
	}
	var more []string
	m.Certificate, more = pki.ParseCertificate(shown.Data)
	problems = append(problems, more...)
	known, _ := pki.ParseAuthorities(map[string][]byte{pki.EntryBundle: shown.Data[pki.EntryBundle]})
	for _, a := range known {
		if len(m.Authorities) < pki.MaxAuthorities && !slices.ContainsFunc(m.Authorities, func(b pki.Authority) bool { return b.Certificate.Equal(a.Certificate) }) {
			m.Authorities = append(m.Authorities, pki.Authority{Certificate: a.Certificate})
		}
	}
	return m, problems
}

// read returns nil for a Secret that is not there.
func (k *Keeper) read(ctx context.Context, watcher objectwatch.Watcher, name string) (*corev1.Secret, objectwatch.Seen, error) {
	list := &corev1.SecretList{}
	at, err := watcher.Look(ctx, list, name, client.InNamespace(k.Namespace))
	var secret *corev1.Secret
	switch {
	case apierrors.IsForbidden(err): // it may be got, and not listed
		secret = &corev1.Secret{}
		if err = k.Client.Get(ctx, client.ObjectKey{Namespace: k.Namespace, Name: name}, secret); apierrors.IsNotFound(err) {
			return nil, at, nil
		}
	case err == nil && len(list.Items) == 0:
		return nil, at, nil
	case err == nil:
		secret = &list.Items[0]
	}
	if err != nil {
		return nil, at, fmt.Errorf("the Secret %s/%s: %w", k.Namespace, name, err)
	}
	if !secret.DeletionTimestamp.IsZero() {
		return nil, at, fmt.Errorf("the Secret %s/%s is being deleted", k.Namespace, name)
	}
	return secret, at, own(secret)
}

// store writes entries that differ, and returns the version from which to watch: what was just written is no news.
func (k *Keeper) store(ctx context.Context, secret *corev1.Secret, at objectwatch.Seen, name string, kind corev1.SecretType, entries map[string][]byte) (string, error) {
	var err error
	switch {
	case secret == nil:
		secret = &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: k.Namespace, Name: name, Labels: map[string]string{Label: "true"}},
			Type:       kind, Data: entries,
		}
		err = k.Client.Create(ctx, secret, client.FieldOwner(v1alpha1.ManagerControllers))
	case maps.EqualFunc(secret.Data, entries, bytes.Equal):
		return at.Version, nil
	default:
		secret.Data = entries // with the resourceVersion that was read
		err = k.Client.Update(ctx, secret, client.FieldOwner(v1alpha1.ManagerControllers))
	}
	if err != nil {
		return at.Version, fmt.Errorf("the Secret %s/%s: %w", k.Namespace, name, err)
	}
	if !at.Watchable() {
		return "", nil
	}
	return secret.ResourceVersion, nil
}

// tell logs what hinders, once until it changes.
func (k *Keeper) tell(ctx context.Context, err error) {
	k.trouble.Note(ctx, err, func(string) {
		k.Log.Error(err, "cannot look after the gateway's certificate", "flag", Flag, "retryAfter", outagePause.String())
	}, func(was string) { k.Log.Info("the gateway's certificate is looked after again", "was", was) })
}
