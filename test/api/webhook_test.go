package api

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/test/env"
)

// Whoever may write a webhook configuration at will could have every object of the cluster sent to himself.
func TestControllersWriteNothingButTheAuthorityIntoTheWebhookConfiguration(t *testing.T) {
	cp := installed(t)
	controllers := impersonateController(t, cp)
	configuration := &admissionregistrationv1.ValidatingWebhookConfiguration{}
	configuration.Name = "restic-manager"
	change := func(edit func(*admissionregistrationv1.ValidatingWebhookConfiguration)) error {
		if err := controllers.Get(t.Context(), client.ObjectKeyFromObject(configuration), configuration); err != nil {
			t.Fatal(err)
		}
		base := configuration.DeepCopy()
		edit(configuration)
		return controllers.Patch(t.Context(), configuration, client.StrategicMergeFrom(base))
	}
	edits := map[string]func(*admissionregistrationv1.ValidatingWebhookConfiguration){
		"another address": func(c *admissionregistrationv1.ValidatingWebhookConfiguration) {
			c.Webhooks[0].ClientConfig.Service, c.Webhooks[0].ClientConfig.URL = nil, new("https://evil.example.com/")
		},
		"another Service": func(c *admissionregistrationv1.ValidatingWebhookConfiguration) {
			c.Webhooks[1].ClientConfig.Service.Name = "evil"
		},
		"other resources": func(c *admissionregistrationv1.ValidatingWebhookConfiguration) {
			c.Webhooks[0].Rules[0].Resources = []string{"*"}
		},
		"other operations": func(c *admissionregistrationv1.ValidatingWebhookConfiguration) {
			c.Webhooks[4].Rules[0].Operations = []admissionregistrationv1.OperationType{"*"}
		},
		"no conditions": func(c *admissionregistrationv1.ValidatingWebhookConfiguration) { c.Webhooks[0].MatchConditions = nil },
		"a policy that blocks": func(c *admissionregistrationv1.ValidatingWebhookConfiguration) {
			c.Webhooks[0].FailurePolicy = new(admissionregistrationv1.Fail)
		},
		"a longer timeout": func(c *admissionregistrationv1.ValidatingWebhookConfiguration) {
			c.Webhooks[0].TimeoutSeconds = new(int32(30))
		},
		"another webhook": func(c *admissionregistrationv1.ValidatingWebhookConfiguration) {
			more := *c.Webhooks[0].DeepCopy()
			more.Name = "more.backup.restic-manager.io"
			c.Webhooks = append(c.Webhooks, more)
		},
		"a webhook less": func(c *admissionregistrationv1.ValidatingWebhookConfiguration) { c.Webhooks = c.Webhooks[1:] },
		"an annotation, by which others inject": func(c *admissionregistrationv1.ValidatingWebhookConfiguration) {
			c.Annotations = map[string]string{"cert-manager.io/inject-ca-from": "evil/ca"}
		},
	}
	env.Eventually(t, time.Minute, "the policy is in force", func(context.Context) error {
		err := change(edits["a longer timeout"])
		if !apierrors.IsForbidden(err) {
			return fmt.Errorf("got %w", err)
		}
		return nil
	})
	for name, edit := range edits {
		t.Run(name, func(t *testing.T) {
			expectForbidden(t, change(edit), "the controllers may change nothing but caBundle")
		})
	}
	ca, err := env.EnsureCA(t.TempDir(), "webhook")
	if err != nil {
		t.Fatal(err)
	}
	authority, err := os.ReadFile(ca.CertFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := change(func(c *admissionregistrationv1.ValidatingWebhookConfiguration) {
		for i := range c.Webhooks {
			c.Webhooks[i].ClientConfig.CABundle = authority
		}
	}); err != nil {
		t.Errorf("the authority: %v", err)
	}
	other := configuration.DeepCopy()
	other.ObjectMeta.Name, other.ResourceVersion, other.UID = "restic-manager-other", "", ""
	expectForbidden(t, controllers.Create(t.Context(), other), "cannot create resource")
	expectForbidden(t, controllers.Delete(t.Context(), configuration), "cannot delete resource")
}
