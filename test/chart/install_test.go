package chart

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/restic-manager/restic-manager/test/env"
)

const host = `{"apiVersion":"backup.restic-manager.io/v1alpha1","kind":"Host","metadata":{"name":"web-1","namespace":"shop"},"spec":{"repository":{"url":"/srv/restic"}}}`

// cluster is an empty one, without the CRDs, for a test alone.
type cluster struct {
	*testing.T
	*env.ControlPlane
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	dir, err := env.TempDir()
	if err != nil {
		t.Fatal(err)
	}
	cp, err := env.Start(t.Context(), env.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cp.Stop(); err != nil {
			t.Error(err)
		}
		_ = os.RemoveAll(dir)
	})
	return &cluster{t, cp}
}

func (c *cluster) helm(args ...string) string {
	c.Helper()
	out, err := run(c.Context(), c.AdminKubeconfig, "", env.Helm, args...)
	if err != nil {
		c.Fatal(err)
	}
	return out
}

func (c *cluster) kubectl(stdin string, args ...string) string {
	c.Helper()
	out, err := c.KubectlInput(c.Context(), c.AdminKubeconfig, stdin, args...)
	if err != nil {
		c.Fatal(err)
	}
	return out
}

func (c *cluster) caBundle() string {
	c.Helper()
	return c.kubectl("", "get", "validatingwebhookconfiguration", "restic-manager", "-o", "jsonpath={.webhooks[*].clientConfig.caBundle}")
}

// The life of a release: nothing that people or the controllers wrote is lost on the way.
func TestInstallUpgradeUninstall(t *testing.T) {
	c := newCluster(t)
	notes := c.helm("install", release, chartFolder(t), "--create-namespace", "--set", minimal)
	for _, want := range []string{"web-1-enrollment", "NOTHING LEADS THERE YET", "https://gateway.example.com"} {
		if !strings.Contains(notes, want) {
			t.Errorf("the notes do not say %q:\n%s", want, notes)
		}
	}
	c.kubectl("", "create", "namespace", "shop")
	c.kubectl(host, "apply", "-f", "-")

	// What the controllers write into the webhook's configuration must survive an upgrade.
	patch := `[{"op":"add","path":"/webhooks/0/clientConfig/caBundle","value":"` + testCA(t) + `"}]`
	if _, err := c.Client().AdmissionregistrationV1().ValidatingWebhookConfigurations().Patch(t.Context(), "restic-manager", types.JSONPatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	before := c.caBundle()
	c.helm("upgrade", release, chartFolder(t), "--set", minimal, "--set", "gateway.replicas=3", "--set", "commonLabels.team=backup")
	if got := c.caBundle(); got != before || got == "" {
		t.Errorf("an upgrade took the authority out of the webhook's configuration: %q", got)
	}
	if got := c.kubectl("", "get", "deployment", "restic-manager-gateway", "-n", namespace, "-o", "jsonpath={.spec.replicas}"); got != "3" {
		t.Errorf("after the upgrade there are %s replicas", got)
	}
	if got := c.kubectl("", "get", "crd", "hosts.backup.restic-manager.io", "-o", "jsonpath={.metadata.labels.team}"); got != "backup" {
		t.Error("the upgrade did not reach the CRDs")
	}

	c.helm("uninstall", release, "--wait")
	if out := c.kubectl("", "get", "deployments,services,clusterroles,validatingadmissionpolicies,validatingwebhookconfigurations,flowschemas", "-A", "-l",
		"app.kubernetes.io/name=restic-manager", "-o", "name"); out != "" {
		t.Errorf("left after uninstall: %s", out)
	}
	if out := c.kubectl("", "get", "hosts.backup.restic-manager.io", "-n", "shop", "-o", "name"); !strings.Contains(out, "web-1") {
		t.Error("the Host went with the release")
	}
	// The CRDs that stayed are taken over by the next release of that name.
	c.helm("install", release, chartFolder(t), "--set", minimal)
	c.requestsQueueInALevelOfTheirOwn()
	// A namespace must be there before its RoleBinding.
	for _, name := range []string{"bank", "other"} {
		c.kubectl("", "create", "namespace", name)
	}
	c.helm("upgrade", release, chartFolder(t), "--set", minimal, "--set", "watchNamespaces={shop,bank}")
	c.rightsInSomeNamespacesAlone()
}

// From kustomize to Helm without a gap.
func TestHelmTakesOverWhatKubectlInstalled(t *testing.T) {
	c := &cluster{t, env.Shared(t)}
	c.kubectl("", "apply", "--server-side", "-k", path(t, "config", "default"))
	uid := func() string {
		return c.kubectl("", "get", "deployment", "restic-manager-controller", "-n", namespace, "-o", "jsonpath={.metadata.uid}")
	}
	before := uid()
	c.helm("install", release, chartFolder(t), "--take-ownership", "--set", minimal)
	if uid() != before {
		t.Error("the Deployment was made anew")
	}
}

func (c *cluster) rightsInSomeNamespacesAlone() {
	c.Helper()
	may := func(account, verb, resource, in string) bool {
		args := []string{"auth", "can-i", verb, resource, "--as=system:serviceaccount:" + namespace + ":" + account}
		if in == "" {
			args = append(args, "--all-namespaces")
		} else {
			args = append(args, "-n", in)
		}
		out, err := c.Kubectl(c.Context(), args...)
		return err == nil && strings.TrimSpace(out) == "yes" // "no" is an exit status too
	}
	for _, tt := range []struct {
		account, verb, resource, in string
		want                        bool
	}{
		{"restic-manager-controller", "get", "secrets", "shop", true},
		{"restic-manager-controller", "patch", "hosts.backup.restic-manager.io", "bank", true},
		{"restic-manager-controller", "get", "namespaces/shop", "shop", true},
		{"restic-manager-controller", "get", "secrets", "other", false},
		{"restic-manager-controller", "list", "hosts.backup.restic-manager.io", "other", false},
		{"restic-manager-controller", "list", "secrets", "", false},
		{"restic-manager-controller", "patch", "validatingwebhookconfigurations/restic-manager", namespace, true},
		{"restic-manager-controller", "patch", "validatingwebhookconfigurations/another", namespace, false},
		{"restic-manager-controller", "update", "leases/restic-manager-controller", namespace, true},
		{"restic-manager-gateway", "list", "schedulesets.backup.restic-manager.io", "", true},
		{"restic-manager-gateway", "get", "secrets", "shop", false},
	} {
		env.Eventually(c.T, time.Minute, "the rights that the API server is told of by a watch", func(context.Context) error {
			if got := may(tt.account, tt.verb, tt.resource, tt.in); got != tt.want {
				return fmt.Errorf("%s may %s %s in %q: %v, want %v", tt.account, tt.verb, tt.resource, tt.in, got, tt.want)
			}
			return nil
		})
	}
}

// The API server says in its answer which FlowSchema a request went by.
func (c *cluster) requestsQueueInALevelOfTheirOwn() {
	c.Helper()
	schema, err := c.Client().FlowcontrolV1().FlowSchemas().Get(c.Context(), "restic-manager", metav1.GetOptions{})
	if err != nil {
		c.Fatal(err)
	}
	for _, account := range []string{"restic-manager-controller", "restic-manager-gateway"} {
		config, _, err := c.ServiceAccountConfig(c.Context(), namespace, account)
		if err != nil {
			c.Fatal(err)
		}
		client, err := rest.HTTPClientFor(config)
		if err != nil {
			c.Fatal(err)
		}
		schemaOf := func(ctx context.Context, path string) (string, error) {
			request, err := http.NewRequestWithContext(ctx, http.MethodGet, config.Host+path, nil)
			if err != nil {
				return "", err
			}
			response, err := client.Do(request)
			if err != nil {
				return "", err
			}
			_ = response.Body.Close()
			return response.Header.Get("X-Kubernetes-PF-FlowSchema-UID"), nil
		}
		env.Eventually(c, 30*time.Second, account+" queues by itself", func(ctx context.Context) error {
			got, err := schemaOf(ctx, "/apis/backup.restic-manager.io/v1alpha1/schedulesets")
			if err == nil && got != string(schema.UID) {
				err = errOther(got)
			}
			return err
		})
		got, err := schemaOf(c.Context(), "/apis/coordination.k8s.io/v1/namespaces/"+namespace+"/leases/restic-manager-controller")
		if err != nil || got == string(schema.UID) {
			c.Errorf("the Leases of %s queue behind its work: %v", account, err)
		}
	}
}

type errOther string

func (e errOther) Error() string { return "it queues by the FlowSchema " + string(e) }
