package chart

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/restic-manager/restic-manager/test/env"
)

const (
	release   = "restic-manager"
	namespace = "restic-manager-system"
	minimal   = "gatewayURL=https://gateway.example.com"
)

func TestMain(m *testing.M) { os.Exit(env.Main(m)) }

// path is one below the root of the repository.
func path(t *testing.T, parts ...string) string {
	t.Helper()
	root, err := env.Root()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(append([]string{root}, parts...)...)
}

func chartFolder(t *testing.T) string { return path(t, "charts", "restic-manager") }

// run starts a component; the error holds what it said.
func run(ctx context.Context, kubeconfig, stdin, name string, args ...string) (string, error) {
	binary, err := env.Binary("", name)
	if err != nil {
		return "", err
	}
	var stdout, stderr bytes.Buffer
	command := exec.CommandContext(ctx, binary, args...)
	command.Env = append(command.Environ(), "KUBECONFIG="+kubeconfig, "HELM_NAMESPACE="+namespace)
	command.Stdin, command.Stdout, command.Stderr = strings.NewReader(stdin), &stdout, &stderr
	if err := command.Run(); err != nil {
		return stdout.String(), fmt.Errorf("%s %s: %w: %s%s", name, strings.Join(args, " "), err, stderr.String(), stdout.String())
	}
	return stdout.String(), nil
}

// template renders without a cluster.
func template(t *testing.T, args ...string) (string, error) {
	t.Helper()
	return run(t.Context(), os.DevNull, "", env.Helm, append([]string{"template", release, chartFolder(t)}, args...)...)
}

// objects are those in a text of manifests.
func objects(t *testing.T, manifests string) []*unstructured.Unstructured {
	t.Helper()
	var found []*unstructured.Unstructured
	for document := range strings.SplitSeq("\n"+manifests, "\n---\n") {
		object := &unstructured.Unstructured{}
		if err := yaml.UnmarshalStrict([]byte(document), &object.Object); err != nil {
			t.Fatalf("%v in\n%s", err, document)
		}
		if len(object.Object) > 0 {
			found = append(found, object)
		}
	}
	return found
}

func key(object *unstructured.Unstructured) string {
	return object.GetKind() + "/" + object.GetNamespace() + "/" + object.GetName()
}

// eachValues runs a test for each file in ci.
func eachValues(t *testing.T, test func(t *testing.T, file string)) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(chartFolder(t), "ci", "*-values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 5 {
		t.Fatalf("%d files of values in ci, expected more", len(files))
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), "-values.yaml"), func(t *testing.T) { test(t, file) })
	}
}
