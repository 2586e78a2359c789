package chart

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/restic-manager/restic-manager/test/env"
)

// helmsOwn are labels and annotations that say by what an object was installed.
var helmsOwn = []string{"helm.sh/chart", "helm.sh/resource-policy", "app.kubernetes.io/instance", "app.kubernetes.io/version", "app.kubernetes.io/managed-by"}

func withoutHelmsOwn(object *unstructured.Unstructured) *unstructured.Unstructured {
	object = object.DeepCopy()
	for get, set := range map[*map[string]string]func(map[string]string){
		new(object.GetLabels()): object.SetLabels, new(object.GetAnnotations()): object.SetAnnotations,
	} {
		kept := *get
		maps.DeleteFunc(kept, func(name, _ string) bool { return slices.Contains(helmsOwn, name) })
		set(kept)
	}
	return object
}

// Who moves from one to the other must find the same in the cluster.
func TestDefaultsAreConfigDefault(t *testing.T) {
	fromHelm, err := template(t, "--set", minimal)
	if err != nil {
		t.Fatal(err)
	}
	fromKustomize, err := run(t.Context(), os.DevNull, "", env.Kubectl, "kustomize", path(t, "config", "default"))
	if err != nil {
		t.Fatal(err)
	}
	byKey := func(manifests string) map[string]any {
		found := map[string]any{}
		for _, object := range objects(t, manifests) {
			// helm test is helm's, and so is the namespace (--create-namespace).
			if object.GetAnnotations()["helm.sh/hook"] != "" || object.GetKind() == "Namespace" {
				continue
			}
			found[key(object)] = withoutHelmsOwn(object).Object
		}
		return found
	}
	chart, config := byKey(fromHelm), byKey(fromKustomize)
	if len(config) < 40 {
		t.Fatalf("config/default has %d objects, expected more", len(config))
	}
	if diff := cmp.Diff(config, chart); diff != "" {
		t.Errorf("config/default (-) and the chart with its defaults (+) differ:\n%s", diff)
	}
}

// A remote base is fetched with its whole repository, but kustomize refuses files outside of the base's own folders.
func TestConfigDefaultNeedsNothingOutsideConfig(t *testing.T) {
	copied := t.TempDir()
	if err := os.CopyFS(copied, os.DirFS(path(t, "config"))); err != nil {
		t.Fatal(err)
	}
	for _, folder := range []string{"default", "default-with-cert-manager", "monitoring"} {
		out, err := run(t.Context(), os.DevNull, "", env.Kubectl, "kustomize", copied+"/"+folder)
		if err != nil || !strings.Contains(out, "kind:") {
			t.Errorf("config/%s by itself: %v", folder, err)
		}
	}
}
