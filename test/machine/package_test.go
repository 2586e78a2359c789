package machine

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const agentYAML = "/etc/restic-manager/agent.yaml"

func TestAPackageIsInstalledUpgradedRemovedAndPurged(t *testing.T) {
	dir := built(t)
	c := boot(t)
	deb := one(t, filepath.Join(dir, "*.deb"))
	c.copy(t, deb, "/agent.deb")

	c.run(t, "dpkg -i /agent.deb")
	c.same(t, "stat -c '%a %U' /etc/restic-manager /var/lib/restic-manager", "700 root\n700 root")
	c.same(t, "restic-manager-agent version | cut -d' ' -f2", version)
	c.same(t, "systemctl is-active restic-manager-agent || true; systemctl is-enabled restic-manager-agent || true", "inactive\ndisabled")
	// Started without an enrolment it does nothing, and does not fail.
	c.run(t, "systemctl enable --now restic-manager-agent")
	c.same(t, "systemctl is-active restic-manager-agent || true; systemctl is-failed restic-manager-agent || true", "inactive\ninactive")
	c.same(t, "gzip -dc /usr/share/man/man1/restic-manager-agent-enroll.1.gz | grep -c HOST-enrollment", "1")
	c.same(t, "bash -c '. /usr/share/bash-completion/completions/restic-manager-agent; complete -p restic-manager-agent' | cut -d' ' -f1", "complete")
	c.same(t, "ls /usr/share/doc/restic-manager-agent/drop-ins | wc -l; ls /usr/share/doc/restic-manager-agent/copyright", "5\n/usr/share/doc/restic-manager-agent/copyright")

	// An agent that runs: a stand-in for an enrolled one, which would need an operator.
	c.put(t, agentYAML, "stands in for an enrolment\n")
	c.run(t, `mkdir -p /etc/systemd/system/restic-manager-agent.service.d
		printf '[Service]\nExecStart=\nExecStart=/usr/bin/sleep infinity\n' >/etc/systemd/system/restic-manager-agent.service.d/stand-in.conf
		systemctl daemon-reload; systemctl start restic-manager-agent`)
	pid := c.run(t, "systemctl show -P MainPID restic-manager-agent")
	c.run(t, "dpkg -i /agent.deb")
	if now := c.run(t, "systemctl show -P MainPID restic-manager-agent"); now == pid || now == "0" {
		t.Errorf("an upgrade leaves process %s, was %s: want it restarted", now, pid)
	}
	c.run(t, "systemctl stop restic-manager-agent; dpkg -i /agent.deb")
	c.same(t, "systemctl is-active restic-manager-agent || true", "inactive")

	c.run(t, "systemctl start restic-manager-agent; touch /var/lib/restic-manager/secrets.enc; dpkg -r restic-manager-agent")
	c.same(t, "systemctl is-active restic-manager-agent || true; ls /usr/bin/restic-manager-agent 2>/dev/null || true; ls "+agentYAML+" /var/lib/restic-manager/secrets.enc",
		"inactive\n"+agentYAML+"\n/var/lib/restic-manager/secrets.enc")
	c.run(t, "dpkg -P restic-manager-agent")
	c.same(t, "ls -d /etc/restic-manager /var/lib/restic-manager 2>/dev/null || true", "")
}

// same compares what a script says.
func (c *computer) same(t *testing.T, script, want string) {
	t.Helper()
	if got := c.run(t, script); got != want {
		t.Errorf("%s says\n%s\nwant\n%s", script, got, want)
	}
}

func TestTheRPMHoldsTheSame(t *testing.T) {
	file := one(t, filepath.Join(built(t), "*.rpm"))
	query := func(args ...string) string {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), "rpm", append([]string{"-qp"}, append(args, file)...)...).Output()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	files := query("--list")
	for _, want := range []string{
		"/usr/bin/restic-manager-agent\n", "/usr/lib/systemd/system/restic-manager-agent.service\n", "/usr/share/man/man1/restic-manager-agent.1.gz\n",
		"/usr/share/bash-completion/completions/restic-manager-agent\n", "/usr/share/zsh/site-functions/_restic-manager-agent\n",
		"/usr/share/fish/vendor_completions.d/restic-manager-agent.fish\n", "/usr/share/licenses/restic-manager-agent/LICENSE\n",
		"/usr/share/doc/restic-manager-agent/drop-ins/restore-in-place.conf\n",
	} {
		if !strings.Contains(files, want) {
			t.Errorf("%s is not in\n%s", strings.TrimSpace(want), files)
		}
	}
	if strings.Contains("\n"+files, "\n/usr/bin\n") {
		t.Error("the package owns /usr/bin, which is another's")
	}
	if got := query("--queryformat", "%{NAME} %{VERSION} %{BUILDHOST} %{LICENSE}"); got != "restic-manager-agent 1.2.3 localhost Apache-2.0" {
		t.Errorf("it is %s", got)
	}
	if got := query("--recommends"); got != "restic >= 0.18\nca-certificates\n" {
		t.Errorf("it recommends %s", got)
	}
	if scripts := query("--scripts"); strings.Count(scripts, "scriptlet") != 3 {
		t.Errorf("scripts:\n%s", scripts)
	}
}

func TestTheSameCommitGivesTheSameBytes(t *testing.T) {
	first := built(t)
	second := filepath.Join(t.TempDir(), "dist")
	if err := build(root(t), second, version); err != nil {
		t.Fatal(err)
	}
	for _, pattern := range []string{"*.deb", "*.rpm", "*.tar.gz", "install/*"} {
		files, err := filepath.Glob(filepath.Join(first, pattern))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v, %v", pattern, files, err)
		}
		for _, file := range files {
			name, err := filepath.Rel(first, file)
			if err != nil {
				t.Fatal(err)
			}
			if a, b := sum(t, file), sum(t, filepath.Join(second, name)); a != b {
				t.Errorf("%s differs: %s and %s", name, a, b)
			}
		}
	}
}

func sum(t *testing.T, file string) string {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	all := sha256.Sum256(content)
	return hex.EncodeToString(all[:])
}

func TestScriptsAreSound(t *testing.T) {
	dir := built(t)
	needs(t, "shellcheck", "dash")
	installer := filepath.Join(dir, "install/install.sh")
	for _, line := range [][]string{
		{"bash", "-n", installer}, {"dash", "-n", installer}, {"shellcheck", installer},
		{"shellcheck", "packaging/scripts/postinstall.sh", "packaging/scripts/preremove.sh", "packaging/scripts/postremove.sh", "hack/packages/build.sh", "hack/debian-tools.sh",
			"test/computer/boot.sh"},
	} {
		command := exec.CommandContext(t.Context(), line[0], line[1:]...)
		command.Dir = root(t)
		if out, err := command.CombinedOutput(); err != nil {
			t.Errorf("%v: %v\n%s", line, err, out)
		}
	}
}
