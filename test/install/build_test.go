package install

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/restic-manager/restic-manager/test/env"
)

// version is something that can be installed: an image, and the chart that goes with it.
type version struct {
	name  string
	image string // OCI archive
	chart string // folder
}

// build makes the image of a checkout for this computer's architecture.
func build(t *testing.T, checkout, dist, name string) version {
	t.Helper()
	cache, err := filepath.Abs(filepath.Join(root(t), ".cache"))
	if err != nil {
		t.Fatal(err)
	}
	for _, command := range []*exec.Cmd{
		exec.Command("hack/packages/build.sh", dist, name, "install"), exec.Command("hack/release/image.sh"),
	} {
		command.Dir = checkout
		command.Env = append(os.Environ(), "VERSION="+name, "DIST="+dist, "CACHE="+cache, "ARCHES="+arch(), "IMAGE_ARCHS="+runtime.GOARCH)
		if out, err := command.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", command, err, out)
		}
	}
	return version{name: name, image: filepath.Join(dist, "restic-manager_"+name+".oci.tar"), chart: filepath.Join(checkout, "charts/restic-manager")}
}

// arch is this computer's architecture as artifacts are named.
func arch() string {
	if runtime.GOARCH == "arm" {
		return "armv7"
	}
	return runtime.GOARCH
}

// present is the version of this checkout.
func present(t *testing.T) version {
	t.Helper()
	return build(t, root(t), filepath.Join(root(t), ".cache", "install", "present"), "v0.2.0-test")
}

// previous is the version of the commit in testdata/previous, which is built once.
func previous(t *testing.T) version {
	t.Helper()
	raw, err := os.ReadFile("testdata/previous")
	if err != nil {
		t.Fatal(err)
	}
	commit := strings.TrimSpace(string(raw))
	dir := filepath.Join(root(t), ".cache", "install", commit)
	v := version{name: "v0.1.0-test", image: filepath.Join(dir, "dist", "restic-manager_v0.1.0-test.oci.tar"), chart: filepath.Join(dir, "checkout", "charts/restic-manager")}
	if _, err := os.Stat(v.image); err == nil {
		return v
	}
	if err := unpack(root(t), commit, filepath.Join(dir, "checkout")); err != nil {
		t.Fatalf("the previous version, commit %s: %v", commit, err)
	}
	return build(t, filepath.Join(dir, "checkout"), filepath.Join(dir, "dist"), v.name)
}

// unpack writes a commit's files into a folder.
func unpack(repository, commit, folder string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	script := exec.Command("bash", "-c", `set -o pipefail; git -C "$0" archive "$1" | tar -x -C "$2"`, repository, commit, folder)
	if out, err := script.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s (a clone without history lacks it: git fetch --unshallow)", err, out)
	}
	return nil
}

func root(t *testing.T) string {
	t.Helper()
	dir, err := env.Root()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}
