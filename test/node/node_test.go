package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/restic-manager/restic-manager/test/env"
)

func TestMain(m *testing.M) { Main(m) }

const objects = `
apiVersion: v1
kind: Secret
metadata: {name: word}
stringData: {word: first}
---
apiVersion: v1
kind: Service
metadata: {name: hello}
spec:
  selector: {app: hello}
  ports: [{name: http, port: 80, targetPort: http}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: hello}
spec:
  replicas: 2
  selector: {matchLabels: {app: hello}}
  template:
    metadata: {labels: {app: hello}}
    spec:
      securityContext: {runAsNonRoot: true, runAsUser: 1234, runAsGroup: 1234, fsGroup: 4321}
      containers:
      - name: hello
        image: hello
        command: [/hello]
        args: [serve]
        ports: [{name: http, containerPort: 8080}]
        readinessProbe: {failureThreshold: 1, httpGet: {path: /ready, port: http}}
        env:
        - {name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
        - {name: POD_IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
        securityContext: {readOnlyRootFilesystem: true, allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
        volumeMounts:
        - {name: word, mountPath: /secret, readOnly: true}
        - {name: tmp, mountPath: /tmp}
      volumes:
      - {name: word, secret: {secretName: word, defaultMode: 0400}}
      - {name: tmp, emptyDir: {}}
---
apiVersion: v1
kind: Pod
metadata: {name: once}
spec:
  restartPolicy: Never
  containers: [{name: once, image: hello, command: [/hello, once]}]
`

func newNode(t *testing.T) (*env.ControlPlane, *Node) {
	t.Helper()
	dir := t.TempDir()
	cp, err := env.Start(t.Context(), env.Options{Dir: filepath.Join(dir, "control-plane"), Controllers: Controllers, Log: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cp.Stop(); err != nil {
			t.Error(err)
		}
	})
	image := filepath.Join(dir, "image")
	build := exec.Command("go", "build", "-o", filepath.Join(image, "hello"), "./testdata/hello")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	n, err := Start(t.Context(), Options{Dir: filepath.Join(dir, "node"), ControlPlane: cp, Images: map[string]string{"hello": image}, Log: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Stop(); err != nil {
			t.Error(err)
		}
	})
	return cp, n
}

func kubectl(t *testing.T, cp *env.ControlPlane, args ...string) string {
	t.Helper()
	out, err := cp.Kubectl(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func ask(ctx context.Context, address, path string) (map[string]string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+path, nil)
	if err != nil {
		return nil, err
	}
	response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	said := map[string]string{}
	if path == "/" {
		err = json.NewDecoder(response.Body).Decode(&said)
	}
	return said, err
}

func TestADeploymentRunsAsItsSpecSays(t *testing.T) {
	cp, n := newNode(t)
	if _, err := cp.KubectlInput(t.Context(), cp.AdminKubeconfig, objects, "apply", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	kubectl(t, cp, "rollout", "status", "deployment/hello", "--timeout=60s")
	service := strings.TrimSpace(kubectl(t, cp, "get", "service", "hello", "-o", "jsonpath={.spec.clusterIP}")) + ":80"

	var said map[string]string
	pods := map[string]bool{}
	eventually(t, "both Pods answer for the Service", func(ctx context.Context) (err error) {
		if said, err = ask(ctx, service, "/"); err != nil {
			return err
		}
		if pods[said["pod"]] = true; len(pods) < 2 {
			return errors.New("only one has")
		}
		return nil
	})
	for key, want := range map[string]string{
		"Uid": "1234 1234 1234 1234", "Gid": "1234 1234 1234 1234", "Groups": "4321", "CapBnd": "0000000000000000", "CapEff": "0000000000000000", "NoNewPrivs": "1",
		"secret": "first", "root": "open /here: read-only file system", "tmp": "<nil>", "args": "serve", "pid": "1",
	} {
		if said[key] != want {
			t.Errorf("%s is %q, want %q", key, said[key], want)
		}
	}
	if said["tokenBytes"] == "0" || !strings.HasPrefix(said["ip"], "10.244.0.") {
		t.Errorf("the token has %s bytes, the address is %q", said["tokenBytes"], said["ip"])
	}
	if phase := kubectl(t, cp, "wait", "pod/once", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s"); !strings.Contains(phase, "condition met") {
		t.Errorf("the Pod that runs once: %s", phase)
	}
	if log, err := n.ReadLog("default", "once"); err != nil || log != "done once\n" {
		t.Errorf("its log is %q, %v", log, err)
	}

	kubectl(t, cp, "patch", "secret", "word", "-p", `{"stringData":{"word":"second"}}`)
	eventually(t, "the Pods see the changed Secret", func(ctx context.Context) error {
		said, err := ask(ctx, service, "/")
		if err == nil && said["secret"] != "second" {
			err = fmt.Errorf("it is %q", said["secret"])
		}
		return err
	})

	if _, err := ask(t.Context(), said["ip"]+":8080", "/not-ready"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a Pod that is not ready leaves the Service", func(ctx context.Context) error {
		addresses, err := cp.Kubectl(ctx, "get", "endpointslices", "-l", "kubernetes.io/service-name=hello", "-o", `jsonpath={range .items[*].endpoints[?(@.conditions.ready==true)]}{.addresses[0]} {end}`)
		if err == nil && (strings.Contains(addresses, said["ip"]+" ") || addresses == "") {
			err = fmt.Errorf("ready are %s", addresses)
		}
		return err
	})

	old := said["pod"]
	kubectl(t, cp, "rollout", "restart", "deployment/hello")
	kubectl(t, cp, "rollout", "status", "deployment/hello", "--timeout=60s")
	eventually(t, "the old Pods are gone", func(ctx context.Context) error {
		names, err := cp.Kubectl(ctx, "get", "pods", "-o", "name")
		if err == nil && strings.Contains(names, old) {
			err = errors.New(names)
		}
		return err
	})
	if log, err := n.ReadLog("default", old); err != nil || !strings.Contains(log, "asked to stop") {
		t.Errorf("its log is %q, %v", log, err)
	}
}

func eventually(t *testing.T, what string, cond func(context.Context) error) {
	t.Helper()
	if err := env.Poll(t.Context(), time.Minute, what, cond); err != nil {
		t.Fatal(err)
	}
}
