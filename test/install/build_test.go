package install

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/restic-manager/restic-manager/test/env"
)

// version is something that can be installed: an image, and the chart that goes with it.
type version struct {
	name     string
	checkout string
	dist     string
}

func (v version) image() string {
	return filepath.Join(v.dist, "restic-manager_"+v.name+".oci.tar")
}
func (v version) chart() string { return filepath.Join(v.checkout, "charts/restic-manager") }

// versions are that of this checkout and the one before it, built or not.
func versions() (previous, present version, commit string, err error) {
	root, err := env.Root()
	if err != nil {
		return previous, present, "", err
	}
	raw, err := os.ReadFile(filepath.Join(root, "test/install/testdata/previous"))
	if err != nil {
		return previous, present, "", err
	}
	commit = strings.TrimSpace(string(raw))
	cache := filepath.Join(root, ".cache", "install")
	present = version{name: "v0.2.0-test", checkout: root, dist: filepath.Join(cache, "present")}
	if exec.Command("git", "-C", root, "cat-file", "-e", commit).Run() != nil {
		// A clone without history: two versions of the same sources are better than none.
		return version{name: "v0.1.0-test", checkout: root, dist: filepath.Join(cache, "same")}, present, "", nil
	}
	previous = version{name: "v0.1.0-test", checkout: filepath.Join(cache, commit, "checkout"), dist: filepath.Join(cache, commit, "dist")}
	return previous, present, commit, nil
}

// buildAll builds what has to be built. It needs the network, the first time.
func buildAll() error {
	previous, present, commit, err := versions()
	if err != nil {
		return err
	}
	fmt.Println("building the image of this checkout")
	if err := present.build(); err != nil {
		return err
	}
	if _, err := os.Stat(previous.image()); err == nil && commit != "" {
		return nil
	}
	if commit == "" {
		fmt.Println("this clone lacks the commit of the previous version (git fetch --unshallow): building that version from this checkout")
		return previous.build()
	}
	fmt.Println("building the image of the previous version, commit", commit)
	if err := unpack(present.checkout, commit, previous.checkout); err != nil {
		return fmt.Errorf("the previous version, commit %s: %w", commit, err)
	}
	return previous.build()
}

// build makes the image for this computer's architecture.
func (v version) build() error {
	root, err := env.Root()
	if err != nil {
		return err
	}
	for _, command := range []*exec.Cmd{exec.Command("hack/packages/build.sh", v.dist, v.name, "install"), exec.Command("hack/release/image.sh")} {
		command.Dir = v.checkout
		command.Env = append(os.Environ(), "VERSION="+v.name, "DIST="+v.dist, "CACHE="+filepath.Join(root, ".cache"), "ARCHES="+arch(), "IMAGE_ARCHS="+runtime.GOARCH,
			"SOURCE_DATE_EPOCH=1767225600")
		if out, err := command.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", command, err, out)
		}
	}
	return nil
}

// arch is this computer's architecture as artifacts are named.
func arch() string {
	if runtime.GOARCH == "arm" {
		return "armv7"
	}
	return runtime.GOARCH
}

// unpack writes a commit's files into a folder.
func unpack(repository, commit, folder string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	script := exec.Command("bash", "-c", `set -o pipefail; git -C "$0" archive "$1" | tar -x -C "$2"`, repository, commit, folder)
	if out, err := script.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}
