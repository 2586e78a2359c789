package machine

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	booting "github.com/restic-manager/restic-manager/test/computer"
	"github.com/restic-manager/restic-manager/test/env"
	"github.com/restic-manager/restic-manager/test/stack"
)

var shared stack.Shared

func TestMain(m *testing.M) {
	code := shared.Main(m)
	if distDir != "" {
		os.RemoveAll(distDir)
	}
	os.Exit(code)
}

// distDir is where dist builds: a folder of this process, since several may test at once.
var distDir string

// needs makes sure of root and of tools.
func needs(t *testing.T, tools ...string) {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "" {
			t.Skip("needs root: it installs and boots")
		}
		t.Fatal("needs root: it installs and boots")
	}
	if err := booting.InstallTools(t.Context(), tools...); err != nil {
		t.Fatal(err)
	}
}

func root(t *testing.T) string {
	t.Helper()
	dir, err := env.Root()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// version is what is built here.
const version = "v1.2.3"

// dist builds packages and the gateway's folder for this computer's architecture, once, and returns where they are.
var dist = sync.OnceValues(func() (string, error) {
	repository, err := env.Root()
	if err != nil {
		return "", err
	}
	if distDir, err = os.MkdirTemp("", "restic-manager-dist-"); err != nil {
		return "", err
	}
	return distDir, build(repository, distDir, version)
})

func build(repository, dir, version string) error {
	command := exec.Command("hack/packages/build.sh", dir, version, "packages")
	command.Dir = repository
	command.Env = append(os.Environ(), "ARCHES="+arch(), "SOURCE_DATE_EPOCH=1767225600")
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", command, err, out)
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

func built(t *testing.T) string {
	t.Helper()
	needs(t, "dpkg", "rpm", "systemctl")
	dir, err := dist()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// operator returns a running operator whose gateway serves the installer.
func operator(t *testing.T) (*stack.Stack, client.Client) {
	t.Helper()
	folder := filepath.Join(built(t), "install")
	shared.Options = stack.Options{GatewayArgs: []string{"--install-dir=" + folder}, ControllerArgs: []string{"--install-script=" + filepath.Join(folder, "install.sh")}}
	return shared.Get(t)
}

// one returns the only file that fits a pattern.
func one(t *testing.T, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(pattern)
	if err != nil || len(found) != 1 {
		t.Fatalf("%s: %v, %v", pattern, found, err)
	}
	return found[0]
}
