package terminal

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/cli-runtime/pkg/printers"
	"sigs.k8s.io/yaml"
)

// Format is what -o asks for.
type Format string

// The formats. Table is what is meant by none.
const (
	FormatTable Format = ""
	FormatWide  Format = "wide"
	FormatJSON  Format = "json"
	FormatYAML  Format = "yaml"
	FormatName  Format = "name"
)

// ParseFormat reads -o.
func ParseFormat(text string, allowed ...Format) (Format, error) {
	if f := Format(text); f == FormatTable || slices.Contains(allowed, f) {
		return f, nil
	}
	names := make([]string, len(allowed))
	for i, f := range allowed {
		names[i] = string(f)
	}
	return "", fmt.Errorf("--output %q is not known here: one of %s", text, strings.Join(names, ", "))
}

// Print writes any value as JSON or YAML.
func (t *Terminal) Print(f Format, value any) error {
	raw, err := json.MarshalIndent(value, "", "    ")
	if err == nil && f == FormatYAML {
		raw, err = yaml.JSONToYAML(raw)
	}
	if err != nil {
		return err
	}
	t.Printf("%s\n", strings.TrimRight(string(raw), "\n"))
	return nil
}

// PrintObject writes a Kubernetes object as kubectl does; done ("created") follows its name.
func (t *Terminal) PrintObject(f Format, object runtime.Object, scheme *runtime.Scheme, done string) error {
	var p printers.ResourcePrinter
	switch f {
	case FormatJSON:
		p = &printers.JSONPrinter{}
	case FormatYAML:
		p = &printers.YAMLPrinter{}
	case FormatName:
		p = &printers.NamePrinter{ShortOutput: true}
	default:
		p = &printers.NamePrinter{Operation: done}
	}
	return printers.NewTypeSetter(scheme).ToPrinter(&printers.OmitManagedFieldsPrinter{Delegate: p}).PrintObj(object, t.Out)
}
