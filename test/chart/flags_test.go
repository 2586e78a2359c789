package chart

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// A flag that a program does not know keeps it from starting, which nothing else here would see.
func TestProgramsKnowTheFlags(t *testing.T) {
	bin := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", bin+string(filepath.Separator), "./cmd/restic-manager-controller", "./cmd/restic-manager-gateway")
	build.Dir = path(t)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	known := func(command []string) string {
		// The path in the image is at its root.
		args := append(command[1:len(command):len(command)], "--help")
		out, err := exec.CommandContext(t.Context(), filepath.Join(bin, command[0]), args...).CombinedOutput()
		if err != nil {
			t.Fatalf("%v --help: %v", command, err)
		}
		return string(out)
	}
	eachValues(t, func(t *testing.T, file string) {
		manifests, err := template(t, "--values", file)
		if err != nil {
			t.Fatal(err)
		}
		for _, object := range objects(t, manifests) {
			at := []string{"spec", "containers"}
			switch object.GetKind() {
			case "Deployment":
				at = []string{"spec", "template", "spec", "containers"}
			case "Pod":
			default:
				continue
			}
			containers, _, err := unstructured.NestedSlice(object.Object, at...)
			if err != nil || len(containers) != 1 {
				t.Fatalf("%s: %d containers, %v", key(object), len(containers), err)
			}
			container := containers[0].(map[string]any)
			command, _, _ := unstructured.NestedStringSlice(container, "command")
			args, _, _ := unstructured.NestedStringSlice(container, "args")
			help := known(command)
			for _, arg := range args {
				flag, _, _ := strings.Cut(arg, "=")
				if !regexp.MustCompile(`(?m)^ +(-\w, )?` + flag + `\b[^-]`).MatchString(help) {
					t.Errorf("%s: %v does not know %s", key(object), command, flag)
				}
			}
		}
	})
}
