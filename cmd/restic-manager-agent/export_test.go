package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/restic-manager/restic-manager/agent/clock"
	"github.com/restic-manager/restic-manager/agent/config"
	"github.com/restic-manager/restic-manager/agent/desired"
	"github.com/restic-manager/restic-manager/agent/vault"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/api/wire/seal"
)

// nasty holds what a shell would trip over.
const nasty = "it's a \"pass\" $HOME `id` \\n \\ !! #\nsecond line; rm -rf /nonexistent"

// keeper is a machine with a configuration and a state folder, as an agent leaves them.
type keeper struct {
	t      *testing.T
	path   string
	config *config.Config
	signer *seal.Signer
	vault  *vault.Vault
	store  *desired.Store
	serial int64
}

func newKeeper(t *testing.T) *keeper {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	k := &keeper{t: t, path: filepath.Join(t.TempDir(), "agent.yaml")}
	if k.signer, err = seal.NewSigner(key); err != nil {
		t.Fatal(err)
	}
	sealing, err := seal.NewSealingKey()
	if err != nil {
		t.Fatal(err)
	}
	seed := make([]byte, ed25519.SeedSize)
	_, _ = rand.Read(seed)
	k.config = &config.Config{Host: config.Host{Namespace: "shop", Name: "web-1", UID: "uid-1"}, Gateway: config.Gateway{URL: "https://gateway.example.com"},
		Identity: config.Identity{SigningKey: seed, SealingKey: sealing}, SigningKeys: config.FromWire(k.signer.PublicKeys()), StateDir: filepath.Join(filepath.Dir(k.path), "state")}
	if err := k.config.Save(k.path); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(k.config.StateDir, 0o700); err != nil {
		t.Fatal(err)
	}
	if k.vault, err = vault.Open(filepath.Join(k.config.StateDir, "secrets.enc"), sealing); err != nil {
		t.Fatal(err)
	}
	k.store, err = desired.Open(desired.Config{Dir: k.config.StateDir, Host: k.config.Ref(), IdentityHash: k.identity().Hash(), SealingKey: sealing,
		SigningKeys: k.config.TrustedKeys(), Vault: k.vault, Clock: clock.Real{}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func (k *keeper) identity() wire.Identity {
	k.t.Helper()
	identity, err := k.config.PublicIdentity()
	if err != nil {
		k.t.Fatal(err)
	}
	return identity
}

// apply puts a set in force whose repository has this credential.
func (k *keeper) apply(repository wire.Repository, c wire.Credential, change ...func(*wire.ScheduleSet)) {
	k.t.Helper()
	sealed, err := seal.SealCredential(k.config.Ref(), k.identity(), wire.CredentialRepository, c)
	if err != nil {
		k.t.Fatal(err)
	}
	k.serial++
	repository.Credential = wire.CredentialRepository
	set := &wire.ScheduleSet{Label: wire.ScheduleSetLabel, Host: k.config.Ref(), IdentityHash: k.identity().Hash(), Serial: k.serial, Revision: "r" + time.Unix(k.serial, 0).UTC().Format("0405"),
		ResticHost: "shop.web-1", Repository: repository, SigningKeys: k.signer.PublicKeys(),
		Credentials: []wire.CredentialHash{{Name: sealed.Name, SHA256: seal.Hash(sealed.Sealed)}}}
	offer := wire.SetOffer{Credentials: []wire.SealedCredential{sealed}}
	for _, f := range change {
		f(set)
		offer.Credentials = nil
	}
	if offer.Bundle, err = wire.EncodeDocument(set); err != nil {
		k.t.Fatal(err)
	}
	offer.Revision, offer.Signatures = set.Revision, k.signer.Sign(offer.Bundle)
	if ack := k.store.Offer(offer); !ack.Applied {
		k.t.Fatalf("the set was refused: %+v", ack)
	}
}

// export calls the program.
func (k *keeper) export(args ...string) (code int, out, errOut string) {
	k.t.Helper()
	return call(k.t, "", append([]string{"export-credentials", "--config", k.path}, args...)...)
}

func environmentOf(password string) wire.Credential {
	return wire.Credential{Environment: map[string]string{"RESTIC_PASSWORD": password}}
}

// shell runs a script after what was exported, with nothing else in the environment.
func shell(t *testing.T, exported, script string, environment ...string) (string, error) {
	t.Helper()
	c := exec.Command("/bin/sh", "-eu")
	c.Stdin = strings.NewReader(exported + "\n" + script)
	c.Env = append(environment, "PATH=/usr/bin:/bin", "HOME="+t.TempDir())
	out, err := c.CombinedOutput()
	return string(out), err
}

func resticProgram(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs("../../.cache/bin/restic-0.19")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Skip("there is no restic; make components builds one")
	}
	return path
}

func TestWhatIsExportedOpensTheRepositoryWithPlainRestic(t *testing.T) {
	restic, k := resticProgram(t), newKeeper(t)
	repository := filepath.Join(t.TempDir(), "it's a repository")
	k.apply(wire.Repository{URL: repository}, environmentOf(nasty))
	before := contents(t, k.config.StateDir)
	code, exported, errOut := k.export()
	if code != 0 || errOut != "" {
		t.Fatalf("exit %d: %s", code, errOut)
	}
	if !strings.Contains(exported, "# Snapshots of this machine: restic snapshots --host 'shop.web-1'\n") {
		t.Errorf("output is:\n%s", exported)
	}
	file := filepath.Join(t.TempDir(), "precious")
	if err := os.WriteFile(file, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	// The repository is made with the password itself, and opened with what was exported.
	if out, err := shell(t, "", `"$RESTIC" -q init && "$RESTIC" -q backup --host shop.web-1 `+quote(file), "RESTIC="+restic, "RESTIC_REPOSITORY="+repository, "RESTIC_PASSWORD="+nasty); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	target := filepath.Join(t.TempDir(), "target")
	if out, err := shell(t, exported, `"$RESTIC" -q restore latest --host shop.web-1 --target `+quote(target), "RESTIC="+restic); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if got, err := os.ReadFile(filepath.Join(target, file)); err != nil || string(got) != "content" {
		t.Errorf("restored %q, %v", got, err)
	}
	if diff := cmp.Diff(before, contents(t, k.config.StateDir)); diff != "" {
		t.Errorf("the state folder was changed:\n%s", diff)
	}
}

// contents of a folder's files.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		raw, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		out[e.Name()] = string(raw)
	}
	return out
}

func TestTheFormerCredentialIsExportedAsAComment(t *testing.T) {
	k := newKeeper(t)
	k.apply(wire.Repository{URL: "rest:https://backup.example.com/web-1"}, environmentOf(nasty))
	k.apply(wire.Repository{URL: "rest:https://backup.example.com/web-1"}, environmentOf("new"))
	code, exported, _ := k.export()
	if code != 0 {
		t.Fatal(exported)
	}
	out, err := shell(t, exported, `printf %s "$RESTIC_PASSWORD"`)
	if err != nil || out != "new" {
		t.Errorf("the password is %q, %v", out, err)
	}
	_, former, _ := strings.Cut(exported, "the one before:\n")
	out, err = shell(t, strings.ReplaceAll(former, "# ", ""), `printf %s "$RESTIC_PASSWORD"`)
	if err != nil || out != strings.ReplaceAll(nasty, "# ", "") {
		t.Errorf("without the marks the former password is %q, %v", out, err)
	}
	_, raw, _ := k.export("--output", "json")
	var document struct {
		Host, ResticHost, Repository string
		Environment                  map[string]string
		Previous                     struct{ Environment map[string]string }
	}
	if err := json.Unmarshal([]byte(raw), &document); err != nil {
		t.Fatal(err)
	}
	if document.Host != "shop/web-1" || document.ResticHost != "shop.web-1" || document.Repository != "rest:https://backup.example.com/web-1" ||
		document.Environment["RESTIC_PASSWORD"] != "new" || document.Previous.Environment["RESTIC_PASSWORD"] != nasty {
		t.Errorf("JSON is %s", raw)
	}
	if err := k.vault.Confirm(vault.FingerprintOf(environmentOf("new"))); err != nil {
		t.Fatal(err)
	}
	if _, exported, _ = k.export(); strings.Contains(exported, "pass") {
		t.Errorf("the former credential is still there:\n%s", exported)
	}
}

func TestCertificatesAreWrittenWhereResticFindsThem(t *testing.T) {
	k := newKeeper(t)
	c := environmentOf("hunter2")
	c.ClientCertificate = "client PEM\n"
	k.apply(wire.Repository{URL: "rest:https://backup.example.com/web-1", CABundle: "ca PEM\n"}, c)
	_, exported, _ := k.export()
	for _, want := range []string{"RESTIC_CACERT", "RESTIC_TLS_CLIENT_CERT", "--certificates-dir"} {
		if !strings.Contains(exported, want) {
			t.Errorf("the output does not say %s:\n%s", want, exported)
		}
	}
	dir := filepath.Join(t.TempDir(), "certificates")
	_, exported, _ = k.export("--certificates-dir", dir)
	out, err := shell(t, exported, `cat "$RESTIC_CACERT" "$RESTIC_TLS_CLIENT_CERT"; stat -c %a "$RESTIC_TLS_CLIENT_CERT"`)
	if err != nil || out != "ca PEM\nclient PEM\n600\n" {
		t.Errorf("output is %q, %v", out, err)
	}
	_, raw, _ := k.export("--output", "json")
	if !strings.Contains(raw, `"caBundle": "ca PEM\n"`) || !strings.Contains(raw, `"clientCertificate": "client PEM\n"`) {
		t.Errorf("JSON is %s", raw)
	}
}

func TestOneOfTheTwoFilesIsEnough(t *testing.T) {
	for _, tt := range []struct{ name, file, says string }{
		{"the set is damaged", desired.FileName, "the schedule set on this machine cannot be read"},
		{"the vault is damaged", "secrets.enc", "do not open"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := newKeeper(t)
			k.apply(wire.Repository{URL: "/srv/repository"}, environmentOf("hunter2"))
			if err := os.WriteFile(filepath.Join(k.config.StateDir, tt.file), []byte("{}"), 0o600); err != nil {
				t.Fatal(err)
			}
			code, exported, errOut := k.export()
			if code != 0 || !strings.Contains(errOut, tt.says) || strings.Contains(errOut, "hunter2") {
				t.Errorf("exit %d: %q", code, errOut)
			}
			if out, err := shell(t, exported, `printf '%s %s' "$RESTIC_REPOSITORY" "$RESTIC_PASSWORD"`); err != nil || out != "/srv/repository hunter2" {
				t.Errorf("exported %q, %v", out, err)
			}
		})
	}
}

func TestTheOnlyCopyOfAPasswordOutlivesItsHost(t *testing.T) {
	k := newKeeper(t)
	k.apply(wire.Repository{URL: "/srv/repository"}, environmentOf("hunter2"))
	k.apply(wire.Repository{}, wire.Credential{}, func(s *wire.ScheduleSet) { s.Tombstone, s.KeepCredentials, s.Credentials = true, true, nil })
	code, out, errOut := k.export()
	if code != 0 || !strings.Contains(errOut, "was removed in the cluster; this was kept") {
		t.Fatalf("exit %d: %s", code, errOut)
	}
	for _, want := range []string{"export RESTIC_REPOSITORY='/srv/repository'\n", "export RESTIC_PASSWORD='hunter2'\n", "restic snapshots --host 'web-1.shop'"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
}

func TestWhatCannotBeExportedIsToldPlainly(t *testing.T) {
	for _, tt := range []struct {
		name    string
		prepare func(*keeper)
		args    []string
		code    int
		says    string
	}{
		{"no set ever came", func(*keeper) {}, nil, exitFailure, "no schedule set ever reached it"},
		{"the Host was removed", func(k *keeper) {
			k.apply(wire.Repository{URL: "/srv/repository"}, environmentOf("hunter2"))
			k.apply(wire.Repository{}, wire.Credential{}, func(s *wire.ScheduleSet) { s.Tombstone, s.Credentials = true, nil })
		}, nil, exitFailure, "was removed in the cluster"},
		{"both files are damaged", func(k *keeper) {
			for _, name := range []string{desired.FileName, "secrets.enc"} {
				if err := os.WriteFile(filepath.Join(k.config.StateDir, name), bytes.Repeat([]byte("x"), 10), 0o600); err != nil {
					k.t.Fatal(err)
				}
			}
		}, nil, exitFailure, "neither the schedule set nor the credentials"},
		{"an unknown form", func(*keeper) {}, []string{"--output", "yaml"}, exitUsage, "want env or json"},
		{"a folder with JSON", func(*keeper) {}, []string{"--output", "json", "--certificates-dir", "x"}, exitUsage, "the JSON holds the certificates"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := newKeeper(t)
			tt.prepare(k)
			code, out, errOut := k.export(tt.args...)
			if code != tt.code || out != "" || !strings.Contains(errOut, tt.says) {
				t.Errorf("exit %d %q %q, want %d and %q", code, out, errOut, tt.code, tt.says)
			}
		})
	}
	if code, _, errOut := call(t, "", "export-credentials", "--config", "/nonexistent/agent.yaml"); code != exitConfig || !strings.Contains(errOut, "not enrolled") {
		t.Errorf("exit %d %q", code, errOut)
	}
}
