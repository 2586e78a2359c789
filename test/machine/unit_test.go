package machine

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/restic-manager/restic-manager/test/env"
)

const (
	unitFile = "packaging/systemd/restic-manager-agent.service"
	// maxExposure is what systemd-analyze may say at most, of 10.
	maxExposure = 3.0
)

func TestTheUnitIsHardened(t *testing.T) {
	needs(t, "systemd-analyze")
	out, err := exec.CommandContext(t.Context(), "systemd-analyze", "security", "--offline=yes", "--no-pager", filepath.Join(root(t), unitFile)).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	found := regexp.MustCompile(`Overall exposure level for \S+: ([0-9.]+)`).FindSubmatch(out)
	if found == nil {
		t.Fatalf("systemd-analyze says no exposure:\n%s", out)
	}
	exposure, err := strconv.ParseFloat(string(found[1]), 64)
	if err != nil || exposure >= maxExposure {
		t.Errorf("the exposure is %s, want below %v:\n%s", found[1], maxExposure, out)
	}
	t.Logf("exposure %s", found[1])
}

// probe makes a unit with exactly the restrictions of the agent's, drop-ins included, that runs a script in its place, and returns what the script says.
func (c *computer) probe(t *testing.T, script string, dropIns ...string) string {
	t.Helper()
	unit, err := os.ReadFile(filepath.Join(root(t), unitFile))
	if err != nil {
		t.Fatal(err)
	}
	// What remains of the unit's own life is only that it starts and ends once.
	text := regexp.MustCompile(`(?m)^(ExecStart|ConditionPathExists|Restart|RestartPreventExitStatus|Type)=.*\n`).ReplaceAllString(string(unit), "")
	if len(text) == len(unit) || !strings.Contains(text, "ProtectSystem=strict") {
		t.Fatal("the unit is not as this test expects it")
	}
	text = strings.Replace(text, "[Service]", "[Service]\nType=oneshot\nExecStart=/bin/bash /probe\nStandardOutput=file:/probe.out\nStandardError=inherit", 1)
	c.put(t, "/etc/systemd/system/probe.service", text)
	c.put(t, "/probe", script)
	c.run(t, "rm -rf /etc/systemd/system/probe.service.d /probe.out; mkdir /etc/systemd/system/probe.service.d")
	for _, name := range dropIns {
		c.copy(t, filepath.Join(root(t), "packaging/systemd/drop-ins", name), "/etc/systemd/system/probe.service.d/"+name)
	}
	said := c.run(t, "systemctl daemon-reload; systemctl start probe 2>/dev/null || true; cat /probe.out")
	t.Logf("%v: %s", dropIns, said)
	return said
}

func (c *computer) put(t *testing.T, path, content string) {
	t.Helper()
	if out, err := c.Try(t.Context(), content, "cat >"+path); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

func TestUnderTheUnitsRestrictions(t *testing.T) {
	c := boot(t)
	c.giveRestic(t)
	c.run(t, `
		mkdir -p /srv/private /usr/lib/modules /var/lib/restic-manager && chmod 0700 /var/lib/restic-manager
		echo hers >/srv/private/hers && chown 65534:65534 /srv/private /srv/private/hers && chmod 0600 /srv/private/hers && chmod 0700 /srv/private
		chmod u+s /srv/private/hers; setcap cap_net_raw+ep /srv/private/hers || true
		echo a >/tmp/a; echo b >/var/tmp/b`)
	const resticOf = `export RESTIC_PASSWORD=x RESTIC_CACHE_DIR=/var/lib/restic-manager/cache TMPDIR=/var/lib/restic-manager; r() { /restic -q "$@" 2>&1; }; `
	tests := []struct {
		name    string
		dropIns []string
		script  string
		want    []string
	}{
		{"root-only files of others are backed up, and restored as they were", nil, resticOf + `
			export RESTIC_REPOSITORY=/var/lib/restic-manager/repo
			r init; r backup /srv/private /tmp/a /var/tmp/b && echo "backed up"
			r restore latest --target /var/lib/restic-manager/restore >/dev/null && stat -c '%u %a' /var/lib/restic-manager/restore/srv/private/hers && cat /var/lib/restic-manager/restore/{srv/private/hers,tmp/a,var/tmp/b}`,
			[]string{"backed up", "65534 4600", "hers\na\nb"}},
		{"nothing else is written", nil, `
			for f in /opt/x /etc/x /usr/x /root/x /srv/private/x /tmp/x /var/tmp/x /run/x /run/lock/x /home/x /boot/x; do touch $f 2>/dev/null && echo "wrote $f"; done
			touch /etc/restic-manager/x /var/lib/restic-manager/x && echo "wrote its own"; rm /etc/restic-manager/x`,
			[]string{"wrote its own"}},
		{"root is not mighty", nil, `
			mount -o remount,rw / 2>/dev/null && echo remounted
			mknod /var/lib/restic-manager/disk b 8 0 2>/dev/null && echo "made a device"
			ls /dev/mem /dev/sda /dev/vda 2>/dev/null && echo "sees disks"
			unshare --user true 2>/dev/null && echo "made a namespace"
			kill -0 1 2>/dev/null; setpriv --reuid 65534 true 2>/dev/null && echo "became another"
			{ echo 1 >/proc/sys/kernel/sysrq; } 2>/dev/null && echo "set a tunable"
			hostname other 2>/dev/null && echo "changed the name"
			grep -E '^(CapBnd|NoNewPrivs|Seccomp):' /proc/self/status`,
			[]string{"CapBnd:\t000000008000001f", "NoNewPrivs:\t1", "Seccomp:\t2"}},
		{"modules and temporary files are seen", nil, `ls -d /usr/lib/modules /tmp/a /var/tmp/b`, []string{"/tmp/a\n/usr/lib/modules\n/var/tmp/b"}},
		{"restores in place take a drop-in", []string{"restore-in-place.conf"}, `touch /srv/x && echo "wrote /srv"; touch /opt/x 2>/dev/null && echo "wrote /opt"`, []string{"wrote /srv"}},
		{"a restore of the whole machine takes another", []string{"restore-whole-machine.conf"}, `
			touch /opt/x /etc/x /usr/x && echo "wrote everywhere"; mknod /opt/disk b 8 0 && echo "a device"; rm /opt/disk; mount -t tmpfs x /mnt 2>/dev/null && echo mounted`,
			[]string{"wrote everywhere\na device"}},
		{"so does a repository on a disk of the machine", []string{"local-repository.conf"}, resticOf + `
			export RESTIC_REPOSITORY=/srv/backup/web-1; r init && r backup /srv/private && echo "backed up"; touch /srv/private/x 2>/dev/null && echo "wrote elsewhere"`,
			[]string{"backed up"}},
		{"and a dump as another user", []string{"dump-as-user.conf"}, `
			
			runuser -u nobody -- id -un; runuser -u nobody -- cat /etc/shadow 2>/dev/null && echo "read"
			setpriv --reuid 65534 bash -c 'echo up; exec sleep 600' >/var/lib/restic-manager/up & until [ -s /var/lib/restic-manager/up ]; do :; done
			kill $! && echo "ended"`,
			[]string{"nobody\nended"}},
		{"and hooks that mount", []string{"hooks.conf"}, `
			mkdir /run/snapshot && mount -t tmpfs x /run/snapshot && echo of-the-hook >/run/snapshot/f && cat /run/snapshot/f; umount /run/snapshot && touch /var/tmp/x && echo done`,
			[]string{"of-the-hook\ndone"}},
	}
	c.run(t, "mkdir -p /srv/backup")
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			said := c.probe(t, test.script, test.dropIns...)
			if said != strings.Join(test.want, "\n") {
				t.Errorf("it says\n%s\nwant\n%s", said, strings.Join(test.want, "\n"))
			}
		})
	}
}

// giveRestic puts restic on the machine, where the probes find it.
func (c *computer) giveRestic(t *testing.T) {
	t.Helper()
	path, err := env.Binary("", env.Restic)
	if err != nil {
		t.Fatal(err)
	}
	c.copy(t, path, "/restic")
	c.run(t, "chmod 0755 /restic; mkdir -m 0700 /etc/restic-manager")
}
