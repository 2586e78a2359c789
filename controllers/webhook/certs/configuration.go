package certs

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/controllers/internal/objectwatch"
)

//+kubebuilder:rbac:groups=admissionregistration.k8s.io,resources=validatingwebhookconfigurations,resourceNames=restic-manager,verbs=get;list;watch;patch

var errAbsent = errors.New("there is none: apply config/webhook, or turn the webhook off with --webhook-bind-address=0")

// publish writes the authorities into the configuration, and nothing when they are there.
func (k *Keeper) publish(ctx context.Context, bundle []byte) (objectwatch.Seen, error) {
	for try := 1; ; try++ {
		at, err := k.tryPublish(ctx, bundle)
		if try < maxRaces && apierrors.IsConflict(err) {
			continue
		}
		if err != nil {
			err = fmt.Errorf("the ValidatingWebhookConfiguration %s: %w", k.Configuration, err)
		}
		return at, err
	}
}

func (k *Keeper) tryPublish(ctx context.Context, bundle []byte) (objectwatch.Seen, error) {
	list := &admissionregistrationv1.ValidatingWebhookConfigurationList{}
	at, err := k.watcher().Look(ctx, list, k.Configuration)
	if err != nil {
		return at, err
	}
	if len(list.Items) == 0 {
		return at, errAbsent
	}
	configuration := &list.Items[0]
	base := configuration.DeepCopy()
	changed := false
	for i := range configuration.Webhooks {
		if to := &configuration.Webhooks[i].ClientConfig; !bytes.Equal(to.CABundle, bundle) {
			to.CABundle, changed = bundle, true
		}
	}
	if !changed {
		return at, nil
	}
	// Of the list only what differs is sent, by the webhooks' names.
	patch := client.StrategicMergeFrom(base, client.MergeFromWithOptimisticLock{})
	if err := k.Client.Patch(ctx, configuration, patch, client.FieldOwner(v1alpha1.ManagerControllers)); err != nil {
		return at, err
	}
	at.Version = configuration.ResourceVersion // what was just written is no news
	k.Log.Info("wrote the webhook's authorities into its configuration", "configuration", k.Configuration)
	return at, nil
}
