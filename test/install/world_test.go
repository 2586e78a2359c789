package install

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/test/computer"
	"github.com/restic-manager/restic-manager/test/env"
	"github.com/restic-manager/restic-manager/test/node"
	"github.com/restic-manager/restic-manager/test/scenario"
	"github.com/restic-manager/restic-manager/test/stack"
)

const (
	system  = "restic-manager-system"
	release = "restic-manager"
	shop    = "shop"
	// gatewayName is where machines find the gateway, by the hosts file.
	gatewayName = "gateway.backup.test"
	patience    = 3 * time.Minute
)

// world is a cluster of one node with a rest-server beside it.
type world struct {
	*testing.T
	client.Client
	dir  string
	cp   *env.ControlPlane
	node *node.Node
	// servers has the rest-server, as scenario knows it.
	servers *stack.Stack
}

func newWorld(t *testing.T, versions ...version) *world {
	t.Helper()
	w := &world{T: t, dir: t.TempDir()}
	var err error
	w.cp, err = env.Start(t.Context(), env.Options{Dir: filepath.Join(w.dir, "control-plane"), Controllers: node.Controllers, Log: t.Logf})
	w.must(err)
	t.Cleanup(func() { w.must(w.cp.Stop()) })
	images := map[string]string{}
	for _, v := range versions {
		images["ghcr.io/restic-manager/restic-manager:"+v.name] = v.image()
	}
	w.node, err = node.Start(t.Context(), node.Options{Dir: filepath.Join(w.dir, "node"), ControlPlane: w.cp, Images: images, Log: t.Logf})
	w.must(err)
	t.Cleanup(func() {
		if t.Failed() {
			w.showLogs()
		}
		w.must(w.node.Stop())
	})
	w.Client, err = stack.NewClient(w.cp.RESTConfig())
	w.must(err)
	ca, err := env.EnsureCA(filepath.Join(w.dir, "pki"), "test rest-server")
	w.must(err)
	rest, err := env.StartRestServer(t.Context(), env.RestServerOptions{Dir: filepath.Join(w.dir, "rest-server"), CA: ca})
	w.must(err)
	t.Cleanup(func() { w.must(rest.Stop()) })
	w.servers = &stack.Stack{CA: ca, Rest: rest}
	return w
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) showLogs() {
	logs, _ := filepath.Glob(filepath.Join(w.dir, "node", "logs", "*.log"))
	for _, file := range logs {
		raw, _ := os.ReadFile(file)
		w.Logf("--- the end of %s\n%s", filepath.Base(file), raw[max(0, len(raw)-6000):])
	}
}

func (w *world) kubectl(args ...string) string {
	w.Helper()
	out, err := w.cp.Kubectl(w.Context(), args...)
	w.must(err)
	return strings.TrimSpace(out)
}

// helm runs the real Helm as the cluster's admin.
func (w *world) helm(args ...string) string {
	w.Helper()
	program, err := env.Binary("", "helm")
	w.must(err)
	cmd := exec.CommandContext(w.Context(), program, args...)
	cmd.Env = []string{
		"PATH=/usr/bin:/bin", "KUBECONFIG=" + w.cp.AdminKubeconfig, "HOME=" + w.dir,
		"HELM_CACHE_HOME=" + filepath.Join(w.dir, "helm"), "HELM_CONFIG_HOME=" + filepath.Join(w.dir, "helm"), "HELM_DATA_HOME=" + filepath.Join(w.dir, "helm"),
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		w.Fatalf("helm %s: %v\n%s\nPods:\n%s", strings.Join(args, " "), err, out.String(), w.kubectl("get", "pods", "-A", "-o", "wide"))
	}
	return out.String()
}

// deploy installs or upgrades to a version and waits until it is rolled out.
func (w *world) deploy(v version) string {
	w.Helper()
	return w.helm("upgrade", "--install", release, v.chart(), "--namespace", system, "--set", "gatewayURL=https://"+gatewayName, "--set", "image.tag="+v.name,
		"--wait", "--timeout", "4m")
}

func (w *world) eventually(what string, cond func(context.Context) error) {
	w.Helper()
	w.must(env.Poll(w.Context(), patience, what, cond))
}

// machine boots one that knows the gateway's name.
func (w *world) machine() *computer.Computer {
	w.Helper()
	c, err := computer.Boot(w.Context(), w.TempDir())
	w.must(err)
	w.Cleanup(func() {
		if w.Failed() {
			w.Logf("the machine's journal:\n%s", c.Journal(context.Background()))
		}
		w.must(c.Stop())
	})
	address := w.kubectl("get", "service", "restic-manager-gateway", "-n", system, "-o", "jsonpath={.spec.clusterIP}")
	w.on(c, "echo '"+address+" "+gatewayName+"' >>/etc/hosts; mv /usr/bin/apt-cache /usr/bin/apt-cache.away || true") // the distribution is not asked: there is no network
	return c
}

// on runs a script on a machine.
func (w *world) on(c *computer.Computer, script string) string {
	w.Helper()
	out, err := c.Try(w.Context(), "", script)
	if err != nil {
		w.Fatalf("%s: %v\n%s", script, err, out)
	}
	return strings.TrimSpace(out)
}

// host makes a Host with a repository and a group, and returns the line that installs and enrols.
func (w *world) host(name string, includes ...string) string {
	w.Helper()
	host, secret, err := scenario.NewHost(w.servers, shop, name)
	w.must(err)
	group := &v1alpha1.SourceGroup{ObjectMeta: metav1.ObjectMeta{Namespace: shop, Name: "files"}, Spec: v1alpha1.SourceGroupSpec{
		Selector: v1alpha1.Selector{HostRef: &v1alpha1.LocalReference{Name: name}}, Includes: includes,
	}}
	for _, o := range []client.Object{&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: shop}}, secret, host, group} {
		w.must(w.Create(w.Context(), o))
	}
	var line string
	w.eventually("the line that installs", func(ctx context.Context) error {
		var secret corev1.Secret
		if err := w.Get(ctx, client.ObjectKey{Namespace: shop, Name: v1alpha1.EnrollmentSecretName(name)}, &secret); err != nil {
			return err
		}
		if line = strings.TrimSpace(string(secret.Data["install"])); line == "" {
			return errors.New("the Secret has none")
		}
		return nil
	})
	return line
}

// ready waits until a Host is connected, current and has its repository.
func (w *world) ready(name string) {
	w.Helper()
	w.eventually("Host "+name+" is connected and has its repository", func(ctx context.Context) error {
		var h v1alpha1.Host
		if err := w.Get(ctx, client.ObjectKey{Namespace: shop, Name: name}, &h); err != nil {
			return err
		}
		for _, c := range []string{v1alpha1.ConditionConnected, v1alpha1.ConditionScheduleSetApplied, v1alpha1.ConditionRepositoryReady} {
			if !meta.IsStatusConditionTrue(h.Status.Conditions, c) {
				return fmt.Errorf("%s is not true: %+v", c, h.Status.Conditions)
			}
		}
		return nil
	})
}

// job runs a HostJob to its success.
func (w *world) job(name string, spec v1alpha1.HostJobSpec) *v1alpha1.HostJob {
	w.Helper()
	spec.HostRef = v1alpha1.LocalReference{Name: "web-1"}
	j := &v1alpha1.HostJob{ObjectMeta: metav1.ObjectMeta{Namespace: shop, Name: name}, Spec: spec}
	w.must(w.Create(w.Context(), j))
	w.finished(j)
	return j
}

func (w *world) finished(j *v1alpha1.HostJob) {
	w.Helper()
	w.eventually("HostJob "+j.Name+" has succeeded", func(ctx context.Context) error {
		if err := w.Get(ctx, client.ObjectKeyFromObject(j), j); err != nil {
			return err
		}
		switch {
		case !j.Status.Phase.Finished():
			return fmt.Errorf("it is %s: %+v", j.Status.Phase, j.Status.Conditions)
		case j.Status.Phase != v1alpha1.JobSucceeded:
			return env.Permanent(fmt.Errorf("it ended %s: %+v", j.Status.Phase, j.Status.Conditions))
		}
		return nil
	})
}

// snapshotFiles counts the snapshots in the machine's repository.
func snapshotFiles(w *world) (int, error) {
	files, err := filepath.Glob(filepath.Join(w.servers.Rest.Data, "*", "snapshots", "*"))
	return len(files), err
}
