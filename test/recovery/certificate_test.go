package recovery

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/agent/config"
	"github.com/restic-manager/restic-manager/test/env"
	"github.com/restic-manager/restic-manager/test/stack"
)

// A fresh installation: a gateway that waits for its certificate, controllers that make it, a machine that pins its authority.
func TestTheControllersMakeTheGatewaysCertificate(t *testing.T) {
	const name = "made-gateway-tls"
	w := newWorld(t, "certificate")
	port, err := env.FreePort()
	w.must(err)
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	mounted := t.TempDir()
	gateway := w.gateway("made", address, mounted)
	w.must(gateway.Start(t.Context()))
	t.Cleanup(func() { _ = gateway.Stop() })
	w.eventually("the gateway says that it waits", func(context.Context) error {
		if log := readFile(t, w.LogFile("made")); !strings.Contains(log, "waiting for the certificate") || !strings.Contains(log, "--gateway-tls-secret") {
			return errors.New(tail(log))
		}
		return nil
	})

	w.stopController()
	before := w.Controller.Args
	t.Cleanup(func() {
		_ = w.Controller.Stop()
		w.Controller.Args = before // and started again by the one before
	})
	w.Controller.Args = append(slices.Clone(before), "--gateway-url=https://"+address, "--gateway-ca-file=", "--gateway-tls-secret="+name, "--gateway-tls-names=127.0.0.1")
	w.startController()
	secret := &corev1.Secret{}
	w.eventually("the Secret is made", func(ctx context.Context) error {
		return w.Get(ctx, client.ObjectKey{Namespace: stack.Namespace, Name: name}, secret)
	})
	// What the kubelet does with a volume.
	for entry, data := range secret.Data {
		w.must(os.WriteFile(filepath.Join(mounted, entry), data, 0o600))
	}
	w.eventually("the gateway listens", func(ctx context.Context) error {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err == nil {
			err = conn.Close()
		}
		return err
	})

	a := w.machine("web-1")
	w.backup("first", "web-1")
	machine, err := config.Load(a.Config)
	w.must(err)
	if machine.Gateway.URL != "https://"+address || len(machine.Gateway.TLSPins) != 1 {
		t.Errorf("the machine pins %v of %s", machine.Gateway.TLSPins, machine.Gateway.URL)
	}
}

// gateway is another replica, with files of its own.
func (w *world) gateway(name, address, mounted string) *env.Process {
	w.Helper()
	command := w.Replicas[0].Command
	replaced := map[string]string{
		"--instance-id": name, "--listen-address": address, "--tls-cert-file": filepath.Join(mounted, "tls.crt"), "--tls-private-key-file": filepath.Join(mounted, "tls.key"),
		"--metrics-bind-address": "0", "--health-probe-bind-address": "0",
	}
	command.Args = slices.Clone(command.Args)
	for i, arg := range command.Args {
		if flag, _, _ := strings.Cut(arg, "="); replaced[flag] != "" {
			command.Args[i] = flag + "=" + replaced[flag]
		}
	}
	command.Name, command.LogFile, command.PIDFile, command.Ready = name, w.LogFile(name), "", nil
	return env.NewProcess(command)
}
