package stack

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

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
