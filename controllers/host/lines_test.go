package host

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
)

func TestTheLineRunsNothingButTheInstallerThatTheControllersKnow(t *testing.T) {
	const good = "#!/usr/bin/env bash\ncat >\"$OUT\"; echo \"$@\" >>\"$OUT\"\n"
	sum := sha256.Sum256([]byte(good))
	line := strings.TrimSpace(installLine("https://gateway.example.com/install/install.sh", hex.EncodeToString(sum[:]), "rmt1.token"))
	for name, c := range map[string]struct{ served, want string }{
		"the same":   {good, "rmt1.token--token - --allow-queries\n"},
		"another":    {good + "# more\n", ""},
		"cut off":    {good[:20], ""},
		"not at all": {"", ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			out := filepath.Join(dir, "out")
			for file, content := range map[string]string{
				"served": c.served,
				// curl -fsSk URL -o FILE
				"curl": "#!/bin/sh\n[ -s " + dir + "/served ] && cp " + dir + "/served \"$4\"\n",
				"wget": "#!/bin/sh\nexit 1\n", "sudo": "#!/bin/sh\nexec \"$@\"\n",
			} {
				if err := os.WriteFile(filepath.Join(dir, file), []byte(content), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			shell := exec.Command("/bin/sh", "-c", line+" --allow-queries")
			shell.Env = []string{"PATH=" + dir + ":/usr/bin:/bin", "OUT=" + out}
			said, err := shell.CombinedOutput()
			if (err == nil) != (c.want != "") {
				t.Errorf("the line ends with %v: %s", err, said)
			}
			got, _ := os.ReadFile(out) // none when it did not run
			if string(got) != c.want {
				t.Errorf("the script was run with %q, want %q", got, c.want)
			}
		})
	}
}

func TestASecretGetsTheLineOfTodaysInstaller(t *testing.T) {
	h := newHarness(t)
	h.InstallSHA256 = strings.Repeat("a", 64)
	h.create(newSecret(), newHost("web-1"))
	h.run("web-1")
	token := h.token("web-1")
	secret := &corev1.Secret{}
	look := func(sum string) {
		t.Helper()
		if !h.get(v1alpha1.EnrollmentSecretName("web-1"), secret) || string(secret.Data[keyInstall]) !=
			installLine("https://gateway.example.com/install/install.sh", sum, string(secret.Data[keyToken])) {
			t.Errorf("the Secret holds another line: %.200s", fmt.Sprint(secret.Data[keyInstall]))
		}
	}
	look(strings.Repeat("a", 64))

	h.InstallSHA256 = strings.Repeat("b", 64)
	h.run("web-1")
	look(strings.Repeat("b", 64))
	if again := h.token("web-1"); again == nil || again.ID != token.ID {
		t.Error("the token is another one: whoever has pasted it would be refused")
	}
	h.writes = 0
	h.run("web-1")
	if h.writes != 0 {
		t.Errorf("%d writes though nothing changed", h.writes)
	}
}
