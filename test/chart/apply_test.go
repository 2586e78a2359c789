package chart

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/restic-manager/restic-manager/test/env"
)

// Each set of values, as a whole, at the API server's own validation: unknown fields, CEL, defaults, immutable names, what admission policies compile to.
func TestWhatIsRenderedIsTakenByTheAPIServer(t *testing.T) {
	cp := env.Shared(t)
	bin, err := env.Binary("", env.Helm)
	if err != nil {
		t.Fatal(err)
	}
	if err := cp.InstallCRDs(t.Context(), filepath.Join(filepath.Dir(bin), "crds")); err != nil {
		t.Fatalf("CRDs of others (make components): %v", err)
	}
	for _, name := range []string{namespace, "shop", "bank"} {
		if _, err := cp.KubectlInput(t.Context(), cp.AdminKubeconfig, "{apiVersion: v1, kind: Namespace, metadata: {name: "+name+"}}", "apply", "--server-side", "-f", "-"); err != nil {
			t.Fatal(err)
		}
	}
	kinds := map[string]bool{}
	eachValues(t, func(t *testing.T, file string) {
		manifests, err := template(t, "--values", file)
		if err != nil {
			t.Fatal(err)
		}
		list := &unstructured.UnstructuredList{Object: map[string]any{"apiVersion": "v1", "kind": "List"}}
		for _, object := range objects(t, manifests) {
			kinds[object.GetKind()] = true
			if !decodedStrictly(t, object) {
				list.Items = append(list.Items, *object)
			}
		}
		manifest, err := yaml.Marshal(list.UnstructuredContent())
		if err != nil {
			t.Fatal(err)
		}
		// A warning is what the namespace's "restricted" would refuse in a Pod, or a field that is about to go.
		says, err := cp.KubectlSays(t.Context(), string(manifest), "apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict", "--warnings-as-errors", "-f", "-")
		if err != nil {
			t.Errorf("%v: %s", err, says)
		}
	})
	for _, kind := range []string{"Ingress", "HTTPRoute", "BackendTLSPolicy", "TLSRoute", "Certificate", "Issuer", "NetworkPolicy", "ServiceMonitor", "PrometheusRule", "ConfigMap",
		"FlowSchema", "PodDisruptionBudget", "Pod"} {
		if !kinds[kind] {
			t.Errorf("no file in ci renders a %s", kind)
		}
	}
}

// decodedStrictly looks at an object whose CRD is not to be had.
func decodedStrictly(t *testing.T, object *unstructured.Unstructured) bool {
	t.Helper()
	var into any
	switch object.GetKind() {
	case "ServiceMonitor":
		into = &monitoringv1.ServiceMonitor{}
	case "PrometheusRule":
		into = &monitoringv1.PrometheusRule{}
	default:
		return false
	}
	manifest, err := yaml.Marshal(object.Object)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalStrict(manifest, into); err != nil {
		t.Errorf("%s: %v", key(object), err)
	}
	return true
}

func TestPodsAreRestricted(t *testing.T) {
	cp := env.Shared(t)
	restricted := cp.NewNamespace(t, "restricted")
	if _, err := cp.Kubectl(t.Context(), "label", "namespace", restricted, "pod-security.kubernetes.io/enforce=restricted"); err != nil {
		t.Fatal(err)
	}
	eachValues(t, func(t *testing.T, file string) {
		manifests, err := template(t, "--values", file)
		if err != nil {
			t.Fatal(err)
		}
		seen := 0
		for _, object := range objects(t, manifests) {
			spec := object.Object["spec"]
			switch object.GetKind() {
			case "Deployment":
				if spec, _, err = unstructured.NestedMap(object.Object, "spec", "template", "spec"); err != nil {
					t.Fatal(err)
				}
			case "Pod":
			default:
				continue
			}
			seen++
			// Its own account and class are not there; they are no matter of security here.
			pod := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"name": "p", "namespace": restricted}, "spec": spec}}
			unstructured.RemoveNestedField(pod.Object, "spec", "serviceAccountName")
			manifest, err := yaml.Marshal(pod.Object)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := cp.KubectlInput(t.Context(), cp.AdminKubeconfig, string(manifest), "create", "--dry-run=server", "-f", "-"); err != nil {
				t.Errorf("the Pod of %s: %v", key(object), err)
			}
		}
		if seen != 3 {
			t.Errorf("%d Pods were looked at, want 3", seen)
		}
	})
}

func TestTheDashboardIsThatOfConfig(t *testing.T) {
	want, err := os.ReadFile(path(t, "config", "monitoring", "dashboard.json"))
	if err != nil {
		t.Fatal(err)
	}
	manifests, err := template(t, "--set", minimal, "--set", "monitoring.dashboard.enabled=true")
	if err != nil {
		t.Fatal(err)
	}
	for _, object := range objects(t, manifests) {
		if object.GetKind() == "ConfigMap" {
			if got, _, _ := unstructured.NestedString(object.Object, "data", "dashboard.json"); strings.TrimSpace(got) != strings.TrimSpace(string(want)) {
				t.Error("the dashboard was changed on its way")
			}
			return
		}
	}
	t.Error("there is no dashboard")
}
