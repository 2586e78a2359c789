package vault

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/restic-manager/restic-manager/agent/atomicfile"
	"github.com/restic-manager/restic-manager/api/wire"
)

var (
	key      = bytes.Repeat([]byte{7}, wire.KeySize)
	otherKey = bytes.Repeat([]byte{8}, wire.KeySize)
)

const url = "rest:https://backup.example.com/web-1"

func credential(password string) wire.Credential {
	return wire.Credential{Environment: map[string]string{"RESTIC_PASSWORD": password}}
}

func set(password string) map[string]wire.Credential {
	return map[string]wire.Credential{wire.CredentialRepository: credential(password), "mirror": credential(password + "-mirror")}
}

func open(t *testing.T, path string) *Vault {
	t.Helper()
	v, err := Open(path, key)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func contentOf(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestAMissingFileIsAnEmptyVault(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secrets.enc")
	v := open(t, path)
	if _, ok := v.Get(wire.CredentialRepository); ok {
		t.Error("an empty vault holds a credential")
	}
	if names := v.Names(); len(names) != 0 {
		t.Errorf("an empty vault has the names %v", names)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("opening an empty vault made a file: %v", err)
	}
}

func TestCredentialsSurviveARestartAndPutReplacesAllOfThem(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secrets.enc")
	v := open(t, path)
	if err := v.Put(url, set("hunter2hunter2")); err != nil {
		t.Fatal(err)
	}
	for _, v := range []*Vault{v, open(t, path)} {
		got, ok := v.Get(wire.CredentialRepository)
		if diff := cmp.Diff(credential("hunter2hunter2"), got); !ok || diff != "" {
			t.Errorf("credential (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{"mirror", wire.CredentialRepository}, v.Names()); diff != "" {
			t.Errorf("names (-want +got):\n%s", diff)
		}
	}
	if err := v.Put(url, map[string]wire.Credential{"other": credential("x")}); err != nil {
		t.Fatal(err)
	}
	for _, v := range []*Vault{v, open(t, path)} {
		if _, ok := v.Get(wire.CredentialRepository); ok {
			t.Error("a credential of the replaced set is still there")
		}
	}
}

func TestTheFileIsPrivateAndHoldsNoPlaintext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secrets.enc")
	if err := open(t, path).Put(url, set("hunter2hunter2")); err != nil {
		t.Fatal(err)
	}
	data := contentOf(t, path)
	for _, secret := range []string{"hunter2", "RESTIC_PASSWORD", "mirror"} {
		if bytes.Contains(data, []byte(secret)) {
			t.Errorf("the file holds %q in plain text", secret)
		}
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode is %o, want 600", info.Mode().Perm())
	}
}

func TestADamagedFileIsATypedErrorAndIsNeverOverwritten(t *testing.T) {
	for name, damage := range map[string]func(data []byte) []byte{
		"is empty":                   func([]byte) []byte { return nil },
		"is cut inside its header":   func(d []byte) []byte { return d[:10] },
		"is cut after its header":    func(d []byte) []byte { return d[:len(header)] },
		"is cut inside its content":  func(d []byte) []byte { return d[:len(d)-1] },
		"is of another version":      func(d []byte) []byte { return bytes.Replace(d, []byte("v1"), []byte("v2"), 1) },
		"has a flipped bit":          func(d []byte) []byte { d[len(d)-20] ^= 1; return d },
		"has a flipped nonce":        func(d []byte) []byte { d[len(header)] ^= 1; return d },
		"is a few bytes of nonsense": func([]byte) []byte { return []byte(header + "abc") },
	} {
		t.Run("a file that "+name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "secrets.enc")
			if err := open(t, path).Put(url, set("hunter2hunter2")); err != nil {
				t.Fatal(err)
			}
			damaged := damage(contentOf(t, path))
			if err := os.WriteFile(path, damaged, 0o600); err != nil {
				t.Fatal(err)
			}
			checkDamaged(t, path, key)
			if !bytes.Equal(contentOf(t, path), damaged) {
				t.Error("the damaged file was changed")
			}
		})
	}
}

func checkDamaged(t *testing.T, path string, key []byte) {
	t.Helper()
	_, err := Open(path, key)
	var typed *DamagedError
	if !errors.As(err, &typed) {
		t.Fatalf("error is %v, want a DamagedError", err)
	}
	if typed.Path != path || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("error is %q", err)
	}
}

func TestAFileOfOtherKeysDoesNotOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secrets.enc")
	if err := open(t, path).Put(url, set("hunter2hunter2")); err != nil {
		t.Fatal(err)
	}
	checkDamaged(t, path, otherKey)
	if _, err := Open(path, []byte("short")); err == nil {
		t.Error("a key of the wrong size was taken")
	}
}

func TestAFolderInTheFilesPlaceIsDamage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secrets.enc")
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	checkDamaged(t, path, key)
}

func TestADamagedFileIsSetAsideUnderAFreeName(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secrets.enc")
	for _, want := range []string{path + ".damaged-1", path + ".damaged-2"} {
		if err := os.WriteFile(path, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := SetAside(path)
		if err != nil || got != want {
			t.Fatalf("set aside as %q, %v, want %q", got, err, want)
		}
		if string(contentOf(t, want)) != want {
			t.Errorf("the content of %s was changed", want)
		}
	}
	if err := open(t, path).Put(url, set("hunter2hunter2")); err != nil {
		t.Fatal(err)
	}
}

func TestAFullDiskKeepsTheEarlierCredentials(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secrets.enc")
	v := open(t, path)
	if err := v.Put(url, set("before")); err != nil {
		t.Fatal(err)
	}
	v.write = func(string, []byte) error { return syscall.ENOSPC }
	if err := v.Put(url, set("after")); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("error is %v, want no space left", err)
	}
	for _, v := range []*Vault{v, open(t, path)} {
		if got, _ := v.Get(wire.CredentialRepository); got.Environment["RESTIC_PASSWORD"] != "before" {
			t.Error("the earlier credential is gone")
		}
	}
	if err := v.Put(url, set("before")); err != nil {
		t.Errorf("putting what is there already writes: %v", err)
	}
	v.write = atomicfile.Write
	if err := v.Put(url, set("after")); err != nil {
		t.Fatal(err)
	}
}

func TestAClearedVaultIsEmptyForGood(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secrets.enc")
	v := open(t, path)
	if err := v.Put(url, set("hunter2hunter2")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := v.Clear(); err != nil {
			t.Fatal(err)
		}
	}
	for _, v := range []*Vault{v, open(t, path)} {
		if names := v.Names(); len(names) != 0 {
			t.Errorf("names are %v, want none", names)
		}
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file is still there: %v", err)
	}
}

func TestACallerMayChangeWhatGetReturned(t *testing.T) {
	v := open(t, filepath.Join(t.TempDir(), "secrets.enc"))
	if err := v.Put(url, set("hunter2hunter2")); err != nil {
		t.Fatal(err)
	}
	got, _ := v.Get(wire.CredentialRepository)
	got.Environment["RESTIC_PASSWORD"] = "changed"
	if again, _ := v.Get(wire.CredentialRepository); again.Environment["RESTIC_PASSWORD"] != "hunter2hunter2" {
		t.Error("the vault's own copy was changed")
	}
}

func TestReadersSeeOneWholeSet(t *testing.T) {
	v := open(t, filepath.Join(t.TempDir(), "secrets.enc"))
	if err := v.Put(url, set("a")); err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	group.Go(func() {
		for i := range 20 {
			if err := v.Put(url, set(string(rune('a'+i)))); err != nil {
				t.Error(err)
			}
		}
	})
	for range 4 {
		group.Go(func() {
			for range 50 {
				if _, ok := v.Get("mirror"); !ok {
					t.Error("a credential was missing between two sets")
				}
			}
		})
	}
	group.Wait()
}
