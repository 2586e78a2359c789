package manifests

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"sigs.k8s.io/yaml"
)

func readCRDs(t *testing.T) map[string]*apiextensionsv1.CustomResourceDefinition {
	t.Helper()
	crds := map[string]*apiextensionsv1.CustomResourceDefinition{}
	for _, file := range files(t, "config", "crd", "bases") {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		crd := &apiextensionsv1.CustomResourceDefinition{}
		if err := yaml.UnmarshalStrict(data, crd); err != nil {
			t.Fatalf("%s: %v", filepath.Base(file), err)
		}
		crds[crd.Spec.Names.Kind] = crd
	}
	return crds
}

func TestThereIsACRDForEachKind(t *testing.T) {
	crds := readCRDs(t)
	for kind := range kinds {
		if crds[kind] == nil {
			t.Errorf("config/crd/bases has no CRD for %s: run make generate", kind)
		}
	}
	for kind := range crds {
		if _, known := kinds[kind]; !known {
			t.Errorf("config/crd/bases has a CRD for %s, which is no kind of the API", kind)
		}
	}
}

func TestCRDsAreValidAndStructural(t *testing.T) {
	for kind, crd := range readCRDs(t) {
		t.Run(kind, func(t *testing.T) {
			apiextensionsv1.SetDefaults_CustomResourceDefinition(crd)
			apiextensionsv1.SetDefaults_CustomResourceDefinitionSpec(&crd.Spec)
			// The API server fills this in before it validates.
			crd.Status.StoredVersions = []string{crd.Spec.Versions[0].Name}
			internal := &apiextensions.CustomResourceDefinition{}
			if err := apiextensionsv1.Convert_v1_CustomResourceDefinition_To_apiextensions_CustomResourceDefinition(crd, internal, nil); err != nil {
				t.Fatal(err)
			}
			// Structure, defaults, and the CEL rules with their estimated cost.
			for _, err := range validation.ValidateCustomResourceDefinition(t.Context(), internal) {
				t.Error(err)
			}
			for _, version := range crd.Spec.Versions {
				props := &apiextensions.JSONSchemaProps{}
				if err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(version.Schema.OpenAPIV3Schema, props, nil); err != nil {
					t.Fatal(err)
				}
				structural, err := structuralschema.NewStructural(props)
				if err != nil {
					t.Fatal(err)
				}
				for _, err := range structuralschema.ValidateStructural(nil, structural) {
					t.Error(err)
				}
			}
		})
	}
}

func TestCRDsLookAlike(t *testing.T) {
	for kind, crd := range readCRDs(t) {
		t.Run(kind, func(t *testing.T) {
			names := crd.Spec.Names
			if len(names.ShortNames) == 0 {
				t.Error("has no short name")
			}
			if !slices.Contains(names.Categories, "restic") {
				t.Errorf("has categories %v, expected restic among them", names.Categories)
			}
			if crd.Spec.Scope != apiextensionsv1.NamespaceScoped {
				t.Errorf("has scope %s, expected Namespaced: a namespace is a tenant", crd.Spec.Scope)
			}
			for _, version := range crd.Spec.Versions {
				if version.Subresources == nil || version.Subresources.Status == nil {
					t.Error("has no status subresource")
				}
				if len(version.AdditionalPrinterColumns) == 0 {
					t.Error("has no printer columns")
				}
				schema := version.Schema.OpenAPIV3Schema
				// Nobody applies and waits for a ScheduleSet; its status is the gateway's, which never writes a condition.
				if kinds[kind] {
					checkStatus(t, schema.Properties["status"])
				}
				for _, problem := range undescribed("", schema) {
					t.Error(problem)
				}
			}
		})
	}
}

func checkStatus(t *testing.T, status apiextensionsv1.JSONSchemaProps) {
	t.Helper()
	generation := status.Properties["observedGeneration"]
	if generation.Default == nil || string(generation.Default.Raw) != "-1" {
		t.Error("status.observedGeneration has no default -1: an object that nobody looked at would count as Current")
	}
	conditions := status.Properties["conditions"]
	if conditions.XListType == nil || *conditions.XListType != "map" || !slices.Equal(conditions.XListMapKeys, []string{"type"}) {
		t.Error("status.conditions is not a map by type")
	}
}

// undescribed returns what a field lacks: a description, and for a list its type and upper bound.
func undescribed(path string, schema *apiextensionsv1.JSONSchemaProps) []string {
	var problems []string
	complain := func(format string, args ...any) {
		problems = append(problems, strings.TrimPrefix(path, ".")+" "+fmt.Sprintf(format, args...))
	}
	if schema.Description == "" && path != ".metadata" && !strings.HasSuffix(path, "[]") && !strings.HasSuffix(path, "{}") {
		complain("has no description for kubectl explain")
	}
	if schema.Type == "array" {
		if schema.XListType == nil {
			complain("has no list type: server-side apply would replace it as a whole by accident")
		}
		if schema.MaxItems == nil {
			complain("has no upper bound")
		}
		problems = append(problems, undescribed(path+"[]", schema.Items.Schema)...)
	}
	if schema.AdditionalProperties != nil && schema.AdditionalProperties.Schema != nil {
		problems = append(problems, undescribed(path+"{}", schema.AdditionalProperties.Schema)...)
	}
	for name, property := range schema.Properties {
		// These are metav1 types, whose schema is not ours.
		if name == "hostSelector" || path == ".status.conditions[]" {
			continue
		}
		problems = append(problems, undescribed(path+"."+name, &property)...)
	}
	slices.Sort(problems)
	return problems
}
