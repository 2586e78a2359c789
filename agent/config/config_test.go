package config

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/api/wire/seal"
)

func sample(t *testing.T) *Config {
	t.Helper()
	sealing, err := seal.NewSealingKey()
	if err != nil {
		t.Fatal(err)
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &Config{
		Host:        Host{Namespace: "shop", Name: "web-1", UID: "0b7c"},
		Gateway:     Gateway{URL: "https://gateway.example.com:8443", TLSPins: []string{"sha256:AAAA"}},
		Identity:    Identity{SigningKey: Bytes(private.Seed()), SealingKey: sealing},
		SigningKeys: FromWire([]wire.SigningKey{{KeyID: wire.KeyIDOf(public), PublicKey: public}}),
		SerialFloor: 12,
		Allow:       Allow{Hooks: Grant, Commands: Consent{AllowDirs: []string{"/etc/restic-manager/dumps", "/opt/dumps"}}, Restore: []string{"/srv"}},
		StateDir:    "/var/lib/elsewhere",
		ResticPath:  "/usr/bin/restic",
	}
}

func TestWhatWasSavedIsLoadedAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.yaml")
	want := sample(t)
	if err := want.Save(path); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode is %v, want 0600", info.Mode().Perm())
	}
	got, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("loaded config differs (-want +got):\n%s", diff)
	}
	if !got.Allow.Hooks.Granted() || !got.Allow.Commands.Granted() || got.Allow.Rclone.Granted() || got.Allow.Queries.Granted() {
		t.Errorf("consents are %+v: only hooks and commands were allowed", got.Allow)
	}
	identity, err := got.PublicIdentity()
	if err != nil {
		t.Fatal(err)
	}
	if err := identity.Validate(); err != nil {
		t.Error(err)
	}
}

func TestTheStateDirHasADefault(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.yaml")
	c := sample(t)
	c.StateDir = ""
	raw := mustMarshal(t, sample(t))
	raw = strings.Replace(raw, "stateDir: /var/lib/elsewhere\n", "", 1)
	if err := os.WriteFile(path, []byte(raw), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if got.StateDir != DefaultStateDir {
		t.Errorf("stateDir is %q, want %q", got.StateDir, DefaultStateDir)
	}
}

func mustMarshal(t *testing.T, c *Config) string {
	t.Helper()
	raw, err := c.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestBrokenFilesAreToldInOneSentence(t *testing.T) {
	good := mustMarshal(t, sample(t))
	line := func(prefix string) int {
		for i, l := range strings.Split(good, "\n") {
			if strings.HasPrefix(strings.TrimSpace(l), prefix) {
				return i + 1
			}
		}
		t.Fatalf("no line begins with %q", prefix)
		return 0
	}
	for _, tt := range []struct {
		name    string
		content string
		line    int
		want    []string
	}{
		{"it is not YAML", "host:\n  namespace: shop\n  name: web-1: x\n", 3, []string{"this is not YAML", "correct the line"}},
		{"it is prose", "just some words", 1, []string{"found a text where a mapping belongs"}},
		{"it is empty", "", 0, []string{"is empty", "enroll"}},
		{"a field is misspelt", strings.Replace(good, "  hooks: allow", "  hoks: allow", 1), line("hooks:"), []string{`unknown field "hoks"`}},
		{"a field stands twice", strings.Replace(good, "  hooks: allow", "  hooks: allow\n  hooks: deny", 1), line("hooks:") + 1,
			[]string{`"hooks" stands there already`}},
		{"a number is a text", strings.Replace(good, "serialFloor: 12", "serialFloor: twelve", 1), line("serialFloor:"),
			[]string{"found a text where a number belongs"}},
		{"a list is a text", strings.Replace(good, "signingKeys:", "signingKeys: none\nx:", 1), line("signingKeys:"),
			[]string{"found a text where a list belongs"}},
		{"a key is not base64", replaceLine(good, "sealingKey:", "  sealingKey: \"%%%\""), line("sealingKey:"), []string{"not base64"}},
		{"a key is too short", replaceLine(good, "sealingKey:", "  sealingKey: AAAA"), 0, []string{"identity.sealingKey"}},
		{"consent is a word nobody knows", strings.Replace(good, "hooks: allow", "hooks: maybe", 1), line("hooks:"), []string{"no consent", "deny, allow or a mapping with allowDirs"}},
		{"consent is a list", strings.Replace(good, "hooks: allow", "hooks: [/etc]", 1), line("hooks:"), []string{"no consent", "allowDirs"}},
		{"a consent has a misspelt field", strings.Replace(good, "    allowDirs:", "    allowDir:", 1), line("allowDirs:"), []string{`unknown field "allowDir"`}},
		{"a consent has no folders", strings.Replace(good, "hooks: allow", "hooks: {allowDirs: []}", 1), line("hooks:"), []string{"an empty one", "write deny"}},
		{"a consent is an empty mapping", strings.Replace(good, "hooks: allow", "hooks: {}", 1), line("hooks:"), []string{"no consent"}},
		{"a consent's folder is relative", strings.Replace(good, "- /opt/dumps", "- dumps", 1), 0, []string{"allow.commands", `"dumps" is not an absolute path`}},
		{"rclone is allowed in folders", strings.Replace(good, "rclone: deny", "rclone: {allowDirs: [/etc]}", 1), 0, []string{"allow.rclone takes no allowDirs"}},
		{"a restore folder is relative", strings.Replace(good, "- /srv", "- srv", 1), 0, []string{"allow.restore[0]", "absolute"}},
		{"the gateway is plain HTTP", strings.Replace(good, "https://", "http://", 1), 0, []string{"gateway.url", "want https://host"}},
		{"the host has no name", strings.Replace(good, "  name: web-1", "  name: \"\"", 1), 0, []string{"host.name is missing"}},
		{"nobody is trusted", cutLines(good, "signingKeys:", 3), 0, []string{"signingKeys are missing"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "agent.yaml")
			if err := os.WriteFile(path, []byte(tt.content), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := Load(path)
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("error is %v, want an *Error", err)
			}
			if e.Line != tt.line {
				t.Errorf("line is %d, want %d: %v", e.Line, tt.line, err)
			}
			for _, want := range append(tt.want, path) {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not say %q", err, want)
				}
			}
			if strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "config.") {
				t.Errorf("error %q is not one plain sentence", err)
			}
		})
	}
}

func TestErrorsNeverShowAKey(t *testing.T) {
	c := sample(t)
	key := base64.StdEncoding.EncodeToString(c.Identity.SigningKey)
	good := mustMarshal(t, c)
	for name, content := range map[string]string{
		"the key stands where a mapping belongs": strings.Replace(good, "identity:\n", "identity: "+key+"\nx:\n", 1),
		"the key stands where a number belongs":  replaceLine(good, "serialFloor:", "serialFloor: "+key),
		"the key has a stray character":          strings.Replace(good, key, key[:20]+"%"+key[20:], 1),
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "agent.yaml")
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := Load(path)
			if err == nil {
				t.Fatal("the file was accepted")
			}
			if strings.Contains(err.Error(), key[:8]) || strings.Contains(err.Error(), key[len(key)-8:]) {
				t.Errorf("error shows the key: %v", err)
			}
		})
	}
}

func TestAFileThatOthersCanReadIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.yaml")
	if err := sample(t).Save(path); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []os.FileMode{0o640, 0o604, 0o644, 0o620} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		_, err := Load(path)
		if err == nil || !strings.Contains(err.Error(), "chmod 600 "+path) {
			t.Errorf("mode %v: error is %v, want the way out", mode, err)
		}
	}
}

func TestAMissingFileSaysHowToEnrol(t *testing.T) {
	_, err := Load(filepath.Join(t.TempDir(), "agent.yaml"))
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "enroll") {
		t.Errorf("error is %v", err)
	}
}

func TestAFolderIsRefused(t *testing.T) {
	_, err := Load(t.TempDir())
	if err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("error is %v", err)
	}
}

func replaceLine(content, prefix, with string) string {
	lines := strings.Split(content, "\n")
	for i, l := range lines {
		if strings.HasPrefix(strings.TrimSpace(l), prefix) {
			lines[i] = with
		}
	}
	return strings.Join(lines, "\n")
}

func cutLines(content, prefix string, n int) string {
	lines := strings.Split(content, "\n")
	for i, l := range lines {
		if strings.HasPrefix(strings.TrimSpace(l), prefix) {
			return strings.Join(append(append([]string{}, lines[:i]...), lines[i+n:]...), "\n")
		}
	}
	return content
}
