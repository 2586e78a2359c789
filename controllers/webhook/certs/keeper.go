package certs

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/controllers/internal/objectwatch"
	"github.com/restic-manager/restic-manager/controllers/internal/pki"
)

//+kubebuilder:rbac:groups="",namespace=restic-manager-system,resources=secrets,verbs=get;create
//+kubebuilder:rbac:groups="",namespace=restic-manager-system,resources=secrets,resourceNames=restic-manager-webhook-tls,verbs=get;list;watch;update

const (
	// retryPause is between tries when a permission or an object is missing, and between looks when nothing can be watched.
	retryPause = 10 * time.Minute
	// outagePause is between tries when the API server does not answer.
	outagePause = 15 * time.Second
	// maxRaces is how often a lost race is tried again at once: each means that another replica got on.
	maxRaces = 5
)

// SecretName is the Secret with authority and certificate, in the operator's namespace.
const SecretName = "restic-manager-webhook-tls"

// policy: by the end of an hour every API server has read the configuration that holds both authorities.
var policy = pki.Policy{Subject: "restic-manager webhook", AuthorityLife: 365 * 24 * time.Hour, CertificateLife: 90 * 24 * time.Hour, Settling: time.Hour}

// Keeper keeps a certificate for the webhook. Each replica has one.
type Keeper struct {
	// Client reads, writes and watches live.
	Client client.WithWatch
	// Namespace of the operator, where the Secret is.
	Namespace string
	// Configuration is the name of the ValidatingWebhookConfiguration.
	Configuration string
	// Names by which API servers reach this replica, DNS names or IP addresses.
	Names []string
	Clock clock.WithTicker
	Log   logr.Logger

	certificate atomic.Pointer[tls.Certificate]
	looked      atomic.Bool
	troubles    map[string]objectwatch.Trouble // by part
}

func (k *Keeper) watcher() objectwatch.Watcher {
	return objectwatch.Watcher{Client: k.Client, Clock: k.Clock}
}

// GetCertificate is for tls.Config.
func (k *Keeper) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if c := k.certificate.Load(); c != nil {
		return c, nil
	}
	return nil, errors.New("the webhook has no certificate yet")
}

// Ready is a readiness check: it passes once the Keeper has tried, also where it could not do it. The controllers work without the webhook.
func (k *Keeper) Ready(*http.Request) error {
	if !k.looked.Load() {
		return errors.New("the webhook's certificate was not looked for yet")
	}
	return nil
}

// NeedLeaderElection implements manager.LeaderElectionRunnable: it runs on every replica.
func (*Keeper) NeedLeaderElection() bool { return false }

// Start implements manager.Runnable.
func (k *Keeper) Start(ctx context.Context) error {
	k.troubles = map[string]objectwatch.Trouble{}
	for ctx.Err() == nil {
		until, seen := k.round(ctx)
		k.looked.Store(true)
		k.watcher().Wait(ctx, until, seen)
	}
	return nil
}

// round brings everything up to date. It returns when to look again, and what to watch until then.
func (k *Keeper) round(ctx context.Context) (time.Time, []objectwatch.Seen) {
	now := k.Clock.Now()
	m, secret, err := k.keepSecret(ctx)
	if k.tell(ctx, "certificate", err); err != nil {
		return now.Add(pauseAfter(err)), []objectwatch.Seen{secret}
	}
	k.certificate.Store(m.Certificate)
	until := policy.Next(m, k.Names)
	configuration, err := k.publish(ctx, m.Bundle())
	k.tell(ctx, "configuration", err)
	if err != nil {
		until = earlier(until, now.Add(pauseAfter(err)))
	}
	if !secret.Watchable() || !configuration.Watchable() {
		until = earlier(until, now.Add(retryPause))
	}
	return until, []objectwatch.Seen{secret, configuration}
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// pauseAfter tells what only a person can help from what passes by itself.
func pauseAfter(err error) time.Duration {
	var answer apierrors.APIStatus
	if errors.Is(err, errAbsent) || errors.As(err, &answer) && (apierrors.IsForbidden(err) || apierrors.IsInvalid(err) || apierrors.IsNotFound(err)) {
		return retryPause
	}
	return outagePause
}

// keepSecret reads the Secret, renews what is due in it, and returns what it holds then.
func (k *Keeper) keepSecret(ctx context.Context) (pki.Material, objectwatch.Seen, error) {
	for try := 1; ; try++ {
		m, at, err := k.trySecret(ctx)
		if try < maxRaces && (apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err)) {
			continue
		}
		if err != nil {
			err = fmt.Errorf("the Secret %s/%s: %w", k.Namespace, SecretName, err)
		}
		return m, at, err
	}
}

func (k *Keeper) trySecret(ctx context.Context) (pki.Material, objectwatch.Seen, error) {
	secret, at, err := k.readSecret(ctx)
	if err != nil {
		return pki.Material{}, at, err
	}
	create := secret == nil
	var problems []string
	var m pki.Material
	if create {
		secret = emptySecret(k.Namespace)
	} else if m, problems = pki.Parse(secret.Data); !secret.DeletionTimestamp.IsZero() {
		return pki.Material{}, at, errors.New("it is being deleted")
	}
	renewed, what, err := policy.Renew(m, k.Names, k.Clock.Now())
	if err != nil || len(what) == 0 {
		return renewed, at, err
	}
	if secret.Data, err = renewed.Entries(); err != nil {
		return pki.Material{}, at, err
	}
	if create {
		err = k.Client.Create(ctx, secret, client.FieldOwner(v1alpha1.ManagerControllers))
	} else {
		// The resourceVersion that was read makes it fail when another replica was first.
		err = k.Client.Update(ctx, secret, client.FieldOwner(v1alpha1.ManagerControllers))
	}
	if err != nil {
		return pki.Material{}, at, err
	}
	at.Version = secret.ResourceVersion // what was just written is no news
	k.Log.Info("made for the webhook: "+strings.Join(what, " and "), "secret", SecretName, "names", pki.NamesOf(renewed.Certificate.Leaf),
		"expires", renewed.Certificate.Leaf.NotAfter.UTC().Format(time.RFC3339))
	if !create && len(problems) > 0 {
		k.Log.Info("replaced in the webhook's Secret what could not be used", "secret", SecretName, "because", strings.Join(problems, "; "))
	}
	return renewed, at, nil
}

// tell logs what hinders, once until it changes.
func (k *Keeper) tell(ctx context.Context, part string, err error) {
	trouble := k.troubles[part]
	trouble.Note(ctx, err, func(text string) {
		k.Log.Info("cannot look after the admission webhook: while it does not answer, objects are taken unchecked, and all else goes on",
			"because", text, "retryAfter", pauseAfter(err).String())
	}, func(was string) { k.Log.Info("the admission webhook is looked after again", "was", was) })
	k.troubles[part] = trouble
}

// readSecret returns nil for none.
func (k *Keeper) readSecret(ctx context.Context) (*corev1.Secret, objectwatch.Seen, error) {
	list := &corev1.SecretList{}
	at, err := k.watcher().Look(ctx, list, SecretName, client.InNamespace(k.Namespace))
	if apierrors.IsForbidden(err) {
		secret := &corev1.Secret{}
		err = k.Client.Get(ctx, client.ObjectKey{Namespace: k.Namespace, Name: SecretName}, secret)
		if apierrors.IsNotFound(err) {
			return nil, at, nil
		}
		return secret, at, err
	}
	if err != nil || len(list.Items) == 0 {
		return nil, at, err
	}
	return &list.Items[0], at, nil
}

// emptySecret has the type that tools know; the API server wants both entries of it.
func emptySecret(namespace string) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: SecretName},
		Type:       corev1.SecretTypeTLS,
	}
}
