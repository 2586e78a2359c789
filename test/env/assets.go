package env

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Names of the component binaries, as hack/components/build.sh calls them.
const (
	Etcd              = "etcd"
	APIServer         = "kube-apiserver"
	ControllerManager = "kube-controller-manager"
	Kubectl           = "kubectl"
	RestServerBinary  = "rest-server"
	S3ServerBinary    = "versitygw"
	Restic            = "restic-0.19" // the version that the agent is built for
	ResticOld         = "restic-0.18" // the oldest version that the agent takes
	PrometheusBinary  = "prometheus"
	Promtool          = "promtool"
	Helm              = "helm"
	KubeScore         = "kube-score"
	Resticprofile     = "resticprofile" // built by make bench alone
)

// Root returns the folder of the repository: the nearest one above the working directory that holds this module's go.mod.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("no go.mod above the working directory: run this inside the repository")
		}
		dir = parent
	}
}

// Binary returns the path of a component. It looks into binDir when that is not empty, else into KUBEBUILDER_ASSETS and
// then into .cache/bin of the repository.
func Binary(binDir, name string) (string, error) {
	var dirs []string
	switch assets := os.Getenv("KUBEBUILDER_ASSETS"); {
	case binDir != "":
		dirs = []string{binDir}
	default:
		if assets != "" {
			dirs = append(dirs, assets)
		}
		root, err := Root()
		if err != nil {
			return "", err
		}
		dirs = append(dirs, filepath.Join(root, ".cache", "bin"))
	}
	for _, dir := range dirs {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return filepath.Abs(path)
		}
	}
	return "", fmt.Errorf("%s is not in %v: run make components, or hack/components/build.sh with the folder and the name", name, dirs)
}
