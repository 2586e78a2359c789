package machine

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/agentgateway/install"
	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/test/scenario"
)

// hostOf makes a namespace with a Host, a group of its files, and returns the lines of its enrolment Secret.
func hostOf(t *testing.T, includes ...string) (namespace string, c client.Client, lines map[string]string) {
	t.Helper()
	s, c := operator(t)
	namespace = s.CP.NewNamespace(t, "machine")
	host, secret, err := scenario.NewHost(s, namespace, "web-1")
	if err != nil {
		t.Fatal(err)
	}
	group := &v1alpha1.SourceGroup{ObjectMeta: metav1.ObjectMeta{Name: "files"},
		Spec: v1alpha1.SourceGroupSpec{Selector: v1alpha1.Selector{HostRef: &v1alpha1.LocalReference{Name: "web-1"}}, Includes: includes}}
	for _, o := range []client.Object{secret, host, group} {
		o.SetNamespace(namespace)
		if err := c.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	lines = map[string]string{}
	wait(t, "the line that installs", func(ctx context.Context) error {
		var secret corev1.Secret
		if err := c.Get(ctx, client.ObjectKey{Namespace: namespace, Name: v1alpha1.EnrollmentSecretName("web-1")}, &secret); err != nil {
			return err
		}
		for key, value := range secret.Data {
			lines[key] = strings.TrimSpace(string(value))
		}
		if lines["install"] == "" {
			return errors.New("there is none")
		}
		return nil
	})
	return namespace, c, lines
}

// job runs a HostJob to its end.
func job(t *testing.T, c client.Client, namespace, name string, spec v1alpha1.HostJobSpec) *v1alpha1.HostJob {
	t.Helper()
	spec.HostRef = v1alpha1.LocalReference{Name: "web-1"}
	j := &v1alpha1.HostJob{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: spec}
	if err := c.Create(t.Context(), j); err != nil {
		t.Fatal(err)
	}
	wait(t, "the end of HostJob "+name, func(ctx context.Context) error {
		if err := c.Get(ctx, client.ObjectKeyFromObject(j), j); err != nil {
			return err
		}
		if !j.Status.Phase.Finished() {
			return fmt.Errorf("it is %s: %+v", j.Status.Phase, j.Status.Conditions)
		}
		return nil
	})
	return j
}

func TestALineTakesAMachineToItsFirstBackup(t *testing.T) {
	namespace, k8s, lines := hostOf(t, "/srv/private")
	c := boot(t)
	c.run(t, `mkdir -p /srv/private /opt/www && echo hers >/srv/private/hers && chown -R 65534:65534 /srv/private && chmod 0600 /srv/private/hers && chmod 0700 /srv/private
		mv /usr/bin/apt-cache /usr/bin/apt-cache.away || true`) // the distribution is not asked: tests need no network

	// As a person pastes it: in a shell, with what the owner allows at the end.
	said, err := c.Try(t.Context(), lines["install"]+" --allow-restore=/opt/www --wait=60\n", "bash")
	if err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	for _, want := range []string{"installed restic-manager-agent " + version, "installed restic 0.19.1 to /usr/lib/restic-manager/restic", "is connected, as Host " + namespace + "/web-1", "kubectl restic status"} {
		if !strings.Contains(said, want) {
			t.Errorf("it does not say %q:\n%s", want, said)
		}
	}
	c.same(t, "systemctl is-active restic-manager-agent; systemctl is-enabled restic-manager-agent; ls /tmp/restic-manager-install.* 2>/dev/null || true", "active\nenabled")
	c.same(t, "stat -c '%a' /etc/restic-manager /etc/restic-manager/agent.yaml /var/lib/restic-manager", "700\n600\n700")

	backup := job(t, k8s, namespace, "backup", v1alpha1.HostJobSpec{Kind: v1alpha1.HostJobBackup, Backup: &v1alpha1.BackupJob{SourceGroup: "files"}})
	if backup.Status.Phase != v1alpha1.JobSucceeded {
		t.Fatalf("the backup is %s: %+v", backup.Status.Phase, backup.Status)
	}
	restore := v1alpha1.HostJobSpec{Kind: v1alpha1.HostJobRestore, Restore: &v1alpha1.RestoreJob{Snapshot: "latest", SourceGroup: "files", Target: "/opt/www/back"}}
	if refused := job(t, k8s, namespace, "restore-walled", restore); refused.Status.Phase != v1alpha1.JobFailed {
		t.Errorf("a restore outside the unit's folders is %s", refused.Status.Phase)
	}
	c.run(t, `mkdir -p /etc/systemd/system/restic-manager-agent.service.d
		sed s,/srv,/opt/www, /usr/share/doc/restic-manager-agent/drop-ins/restore-in-place.conf >/etc/systemd/system/restic-manager-agent.service.d/restore-in-place.conf
		systemctl daemon-reload; systemctl restart restic-manager-agent`)
	if done := job(t, k8s, namespace, "restore", restore); done.Status.Phase != v1alpha1.JobSucceeded {
		t.Errorf("with the drop-in it is %s: %+v", done.Status.Phase, done.Status.Conditions)
	}
	c.same(t, "cat /opt/www/back/srv/private/hers; stat -c '%u %a' /opt/www/back/srv/private/hers", "hers\n65534 600")

	pid := c.run(t, "systemctl show -P MainPID restic-manager-agent")
	again, err := c.Try(t.Context(), lines["install"]+"\n", "bash")
	if err != nil || !strings.Contains(again, "that stays as it is") || !strings.Contains(again, "installed already") {
		t.Errorf("the same line again: %v\n%s", err, again)
	}
	c.same(t, "systemctl show -P MainPID restic-manager-agent", pid)

	// An upgrade: another program, no token, and the gateway is the one of agent.yaml.
	c.copy(t, filepath.Join(built(t), "install/install.sh"), "/install.sh")
	c.run(t, "cp /usr/bin/restic-manager-agent /agent; echo x >>/agent; mv /agent /usr/bin/restic-manager-agent")
	c.run(t, "bash /install.sh")
	if now := c.run(t, "systemctl show -P MainPID restic-manager-agent"); now == pid {
		t.Error("an upgrade leaves the old program running")
	}

	c.run(t, "bash /install.sh --uninstall --dry-run")
	c.same(t, "systemctl is-active restic-manager-agent", "active")
	c.run(t, "bash /install.sh --uninstall")
	c.same(t, "systemctl is-active restic-manager-agent || true; ls /usr/bin/restic-manager-agent /usr/lib/systemd/system/restic-manager-agent.service /usr/lib/restic-manager /usr/share/doc/restic-manager-agent 2>/dev/null || true; ls "+agentYAML, "inactive\n"+agentYAML)
	c.run(t, "bash /install.sh --uninstall --purge")
	c.same(t, "ls -d /etc/restic-manager /var/lib/restic-manager 2>/dev/null || true", "")
}

// hostile serves a folder as a gateway that somebody took over, with a certificate of nobody.
func hostile(t *testing.T, folder string) string {
	t.Helper()
	files, err := install.Open(folder)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { files.Close() })
	server := httptest.NewUnstartedServer(install.New(install.Options{Files: files, Clock: clock.RealClock{}, Meter: nobody{}, Logger: slog.New(slog.DiscardHandler)}))
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS13}
	server.StartTLS()
	t.Cleanup(server.Close)
	return server.URL
}

type nobody struct{}

func (nobody) Installer(string) {}

// tampered is a copy of the gateway's folder in which one file has another end.
func tampered(t *testing.T, pattern string) string {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "install")
	if err := os.CopyFS(folder, os.DirFS(filepath.Join(built(t), "install"))); err != nil {
		t.Fatal(err)
	}
	file, err := os.OpenFile(one(t, filepath.Join(folder, pattern)), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.WriteString("\ntouch /ran\n"); err != nil {
		t.Fatal(err)
	}
	return folder
}

func TestAGatewayThatSomebodyTookOverRunsNothing(t *testing.T) {
	needs(t, "wget")
	_, _, lines := hostOf(t, "/etc")
	real := lines["install"][strings.Index(lines["install"], "https://"):]
	real = real[:strings.Index(real, "/install/")]
	c := boot(t)
	c.run(t, "mv /usr/bin/apt-cache /usr/bin/apt-cache.away || true")

	// Another install.sh: the line refuses it.
	line := strings.ReplaceAll(lines["install"], real, hostile(t, tampered(t, "install.sh")))
	out, err := c.Try(t.Context(), line+"\n", "bash")
	if err == nil || !strings.Contains(out, "did NOT match") {
		t.Errorf("another install.sh: %v\n%s", err, out)
	}
	// Another tarball, another restic: install.sh refuses them.
	c.copy(t, filepath.Join(built(t), "install/install.sh"), "/install.sh")
	for _, pattern := range []string{"restic-manager-agent_*", "restic_*.gz"} {
		c.refuses(t, "RESTIC_MANAGER_TOKEN="+lines["token"]+" bash /install.sh --gateway "+hostile(t, tampered(t, pattern)), "its SHA-256 is wrong", "nothing of it was unpacked or run")
	}
	c.same(t, "ls /ran /etc/restic-manager/agent.yaml 2>/dev/null || true", "")
	c.refuses(t, "bash /install.sh --no-enroll --from /nowhere", "/nowhere/restic-manager-agent_", "is not there")

	// The right files come from the real gateway; by wget, where there is no curl.
	c.run(t, "mv /usr/bin/curl /usr/bin/curl.away; bash /install.sh --no-enroll --gateway "+real)
	c.same(t, "restic-manager-agent version | cut -d' ' -f2; /usr/lib/restic-manager/restic version | cut -d' ' -f2", version+"\n0.19.1")
}

func TestTheInstallerRefusesWhatItCannotDo(t *testing.T) {
	script := filepath.Join(built(t), "install/install.sh")
	c := boot(t)
	c.copy(t, script, "/install.sh")
	c.run(t, `mkdir /shims; printf '#!/bin/sh\ncase $1 in -m) echo riscv64;; *) echo Linux;; esac\n' >/shims/uname; chmod 0755 /shims/uname /shims
		chmod 0755 /install.sh; mv /usr/bin/apt-cache /usr/bin/apt-cache.away || true`)
	for _, test := range []struct {
		script string
		says   []string
	}{
		{"sh </install.sh", []string{"this needs bash", "sudo bash -s -- --token", "Nothing was done"}},
		{"PATH=/shims:$PATH bash /install.sh --no-enroll", []string{"there is no build for riscv64"}},
		{"setpriv --reuid 65534 --clear-groups bash /install.sh", []string{"run this as root"}},
		{"bash /install.sh", []string{"no token"}},
		{"bash /install.sh --token", []string{"--token needs a value"}},
		{"bash /install.sh --tokn x", []string{"--tokn is not known"}},
		{"bash /install.sh --token rmt1_bm9uZQ.00000000 --no-systemd", []string{"where is the gateway?"}},
		{"bash /install.sh --no-enroll --gateway http://gateway", []string{"must begin with https://"}},
		{"mount -t tmpfs x /run/systemd && bash /install.sh --no-enroll --gateway https://127.0.0.1:1; r=$?; umount /run/systemd; exit $r", []string{"systemd does not run here", "--no-systemd"}},
		// A download that was cut off runs nothing.
		{"head -c 12000 /install.sh | bash -s -- --no-enroll; test -e /usr/bin/restic-manager-agent", nil},
	} {
		c.refuses(t, test.script, test.says...)
	}
	c.same(t, "bash /install.sh --version", "install.sh "+strings.TrimPrefix(version, "v"))
	c.run(t, "bash /install.sh --help | grep -q -- --uninstall")

	// Without a gateway, from a folder, into an image: installed, enabled, not started.
	const from = "/from"
	files, err := filepath.Glob(filepath.Join(built(t), "install/*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		c.copy(t, file, filepath.Join(from, filepath.Base(file)))
	}
	c.run(t, "bash /install.sh --dry-run --no-enroll --from "+from)
	c.same(t, "ls /usr/bin/restic-manager-agent 2>/dev/null || true", "")
	c.run(t, "bash /install.sh --no-enroll --from "+from)
	c.same(t, "systemctl is-enabled restic-manager-agent; systemctl is-active restic-manager-agent || true", "enabled\ninactive")

	// A package that is there is not touched.
	c.run(t, "bash /install.sh --uninstall")
	c.copy(t, one(t, filepath.Join(built(t), "*.deb")), "/agent.deb")
	c.run(t, "dpkg -i /agent.deb")
	if said := c.run(t, "bash /install.sh --no-enroll --from "+from); !strings.Contains(said, "installed by a package") {
		t.Errorf("beside a package it says %s", said)
	}
	c.refuses(t, "bash /install.sh --uninstall", "installed by a package")
}

// TestTheGatewayServesTheInstallerItself asks the real process, as curl does.
func TestTheGatewayServesTheInstallerItself(t *testing.T) {
	s, _ := operator(t)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.CA.Pool(), MinVersion: tls.VersionTLS13}, DialContext: (&net.Dialer{}).DialContext}
	defer transport.CloseIdleConnections()
	for path, want := range map[string]int{"/install/install.sh": 200, "/install/SHA256SUMS": 200, "/install/": 404, "/install/agent.yaml": 404} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := (&http.Client{Transport: transport}).Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != want {
			t.Errorf("%s: %d, want %d", path, response.StatusCode, want)
		}
	}
}
