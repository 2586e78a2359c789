package stack

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"sigs.k8s.io/yaml"

	"github.com/restic-manager/restic-manager/test/env"
)

// DeployWebhook applies config/webhook for controllers that listen on a loopback address: there is no kube-proxy here, so the API server reaches them by URL
// instead of by Service.
func DeployWebhook(ctx context.Context, cp *env.ControlPlane, address string) error {
	root, err := env.Root()
	if err != nil {
		return err
	}
	rendered, err := cp.Kubectl(ctx, "kustomize", filepath.Join(root, "config", "webhook"))
	if err != nil {
		return err
	}
	for document := range strings.SplitSeq(rendered, "\n---\n") {
		var configuration admissionregistrationv1.ValidatingWebhookConfiguration
		if err := yaml.Unmarshal([]byte(document), &configuration); err != nil {
			return fmt.Errorf("config/webhook: %w", err)
		}
		if configuration.Kind != "ValidatingWebhookConfiguration" {
			continue
		}
		for i := range configuration.Webhooks {
			to := &configuration.Webhooks[i].ClientConfig
			to.URL = new("https://" + address + *to.Service.Path)
			to.Service = nil
			configuration.Webhooks[i].TimeoutSeconds = new(int32(30)) // machines that run tests are busy
		}
		byURL, err := yaml.Marshal(configuration)
		if err != nil {
			return err
		}
		_, err = cp.KubectlInput(ctx, cp.AdminKubeconfig, string(byURL), "apply", "--server-side", "--force-conflicts", "-f", "-")
		return err
	}
	return errors.New("config/webhook has no ValidatingWebhookConfiguration")
}

const webhookPatience = time.Minute

// neverFires is what the schema takes and the webhook does not.
const neverFires = `apiVersion: backup.restic-manager.io/v1alpha1
kind: Schedule
metadata: {name: does-the-webhook-answer, namespace: default}
spec: {cron: "0 0 31 2 *", sourceGroups: [none]}`

// WebhookAnswers returns nil once the API server asks the webhook.
func WebhookAnswers(ctx context.Context, cp *env.ControlPlane) error {
	out, err := cp.KubectlInput(ctx, cp.AdminKubeconfig, neverFires, "create", "--dry-run=server", "-f", "-")
	if err == nil {
		return fmt.Errorf("nobody refuses a Schedule that never fires: %s", out)
	}
	if !strings.Contains(err.Error(), "never fires") {
		return err
	}
	return nil
}

// Unchecked runs write while the API server does not ask the webhook at an address, for objects as they were written before there was one.
func Unchecked(ctx context.Context, cp *env.ControlPlane, address string, write func() error) error {
	if _, err := cp.Kubectl(ctx, "delete", "validatingwebhookconfiguration", "restic-manager"); err != nil {
		return err
	}
	err := env.Poll(ctx, webhookPatience, "the API server to ask no webhook", func(ctx context.Context) error {
		if WebhookAnswers(ctx, cp) == nil {
			return errors.New("it still asks")
		}
		return nil
	})
	if err == nil {
		err = write()
	}
	if err := errors.Join(err, DeployWebhook(ctx, cp, address)); err != nil {
		return err
	}
	return AwaitWebhook(ctx, cp)
}

// AwaitWebhook waits until the API server asks the webhook.
func AwaitWebhook(ctx context.Context, cp *env.ControlPlane) error {
	return env.Poll(ctx, webhookPatience, "an answer of the admission webhook", func(ctx context.Context) error { return WebhookAnswers(ctx, cp) })
}
