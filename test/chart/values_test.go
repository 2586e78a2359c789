package chart

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// schema is the part of values.schema.json that is looked at here.
type schema struct {
	Ref                  string `json:"$ref"`
	Type                 any
	AdditionalProperties any
	Properties           map[string]*schema
}

func TestSchemaAndValuesKnowTheSameKeys(t *testing.T) {
	read := func(name string, into any) {
		data, err := os.ReadFile(filepath.Join(chartFolder(t), name))
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(name, ".json") {
			err = json.Unmarshal(data, into)
		} else {
			err = yaml.UnmarshalStrict(data, into)
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	root := &schema{}
	values := map[string]any{}
	read("values.schema.json", root)
	read("values.yaml", &values)
	delete(root.Properties, "global") // helm's own, which it adds to every chart's values
	compare(t, "", root, values)
}

func compare(t *testing.T, at string, s *schema, values map[string]any) {
	t.Helper()
	if closed, is := s.AdditionalProperties.(bool); !is || closed {
		t.Errorf("%s: the schema takes unknown keys", at)
	}
	if got, want := slices.Sorted(maps.Keys(values)), slices.Sorted(maps.Keys(s.Properties)); !slices.Equal(got, want) {
		t.Errorf("%s: values.yaml has %v, the schema %v", at, got, want)
	}
	for name, value := range values {
		below, isMap := value.(map[string]any)
		if sub := s.Properties[name]; isMap && sub != nil && sub.Properties != nil {
			compare(t, at+"."+name, sub, below)
		}
	}
}

func TestMistakesInValuesAreNamed(t *testing.T) {
	tests := []struct {
		name string
		set  []string // beside gatewayURL
		want string   // part of the error, empty for none
	}{
		{"nothing but the URL", nil, ""},
		{"no URL", []string{"gatewayURL="}, "gatewayURL is required"},
		{"a URL without TLS", []string{"gatewayURL=http://gateway.example.com"}, "gatewayURL"},
		{"a URL with a path", []string{"gatewayURL=https://example.com/gateway"}, "gatewayURL"},
		{"a key that does not exist", []string{"gatewayUrl=https://gateway.example.com"}, "gatewayUrl"},
		{"a key that does not exist, further down", []string{"gateway.replica=3"}, "replica"},
		{"no replicas", []string{"gateway.replicas=0"}, "replicas"},
		{"a mode that does not exist", []string{"gateway.tls.mode=acme"}, "mode"},
		{"the mode secret without a Secret", []string{"gateway.tls.mode=secret"}, "gateway.tls.secretName"},
		{"the mode certManager without an issuer", []string{"gateway.tls.mode=certManager"}, "issuerRef.name"},
		{"a Secret of one's own in the mode selfManaged", []string{"gateway.tls.secretName=mine"}, "gateway.tls.mode is selfManaged"},
		{"a proxy that ends TLS where machines pin", []string{"gateway.httpRoute.enabled=true", "gateway.httpRoute.parentRefs[0].name=public"}, "gateway.tlsRoute"},
		{"an Ingress that ends TLS where machines pin", []string{"gateway.ingress.enabled=true", "gateway.ingress.tlsMode=reencrypt"}, "use passthrough"},
		{"an Ingress that ends TLS without a certificate", []string{"gateway.tls.mode=secret", "gateway.tls.secretName=a", "gateway.ingress.enabled=true", "gateway.ingress.tlsMode=reencrypt"},
			"gateway.ingress.tlsSecretName"},
		{"a route to nowhere", []string{"gateway.tlsRoute.enabled=true"}, "gateway.tlsRoute.parentRefs"},
		{"a digest that is none", []string{"image.digest=latest"}, "digest"},
		{"an argument without dashes", []string{"controller.extraArgs[0]=token-ttl=2h"}, "extraArgs"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			args := []string{"--set", minimal}
			for _, s := range tt.set {
				args = append(args, "--set", s)
			}
			_, err := template(t, args...)
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}
