package vault

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/restic-manager/restic-manager/api/wire"
)

// repositoryOnly is a set with one credential.
func repositoryOnly(c wire.Credential) map[string]wire.Credential {
	return map[string]wire.Credential{wire.CredentialRepository: c}
}

func TestTheFormerCredentialStaysUntilTheNewOneWasSeenToWork(t *testing.T) {
	const other = "rest:https://elsewhere.example.com/web-1"
	type step struct {
		what    string
		do      func(*Vault) error
		current string
		// previous is empty when there is none.
		previous string
	}
	put := func(url, password string) func(*Vault) error {
		return func(v *Vault) error { return v.Put(url, repositoryOnly(credential(password))) }
	}
	confirm := func(password string) func(*Vault) error {
		return func(v *Vault) error { return v.Confirm(FingerprintOf(credential(password))) }
	}
	for _, tt := range []struct {
		name  string
		steps []step
	}{
		{"a password that is changed once", []step{
			{"the first password", put(url, "a"), "a", ""},
			{"another", put(url, "b"), "b", "a"},
			{"the same set again", put(url, "b"), "b", "a"},
			{"a run with the former one ends", confirm("a"), "b", "a"},
			{"the new one opens the repository", confirm("b"), "b", ""},
			{"the same set again", put(url, "b"), "b", ""},
		}},
		{"two changes before either was tried keep the one that worked", []step{
			{"the first password", put(url, "a"), "a", ""},
			{"a mistyped one", put(url, "b"), "b", "a"},
			{"the right one", put(url, "c"), "c", "a"},
			{"the right one opens", confirm("c"), "c", ""},
		}},
		{"going back to the former one", []step{
			{"the first password", put(url, "a"), "a", ""},
			{"a mistyped one", put(url, "b"), "b", "a"},
			{"back", put(url, "a"), "a", ""},
		}},
		{"another repository", []step{
			{"the first password", put(url, "a"), "a", ""},
			{"another repository with another password", put(other, "b"), "b", ""},
			{"another password for it", put(other, "c"), "c", "b"},
			{"the first repository again", put(url, "a"), "a", ""},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "secrets.enc")
			v := open(t, path)
			for _, s := range tt.steps {
				if err := s.do(v); err != nil {
					t.Fatalf("%s: %v", s.what, err)
				}
				for _, v := range []*Vault{v, open(t, path)} {
					current, _ := v.Get(wire.CredentialRepository)
					previous, has := v.Get(Previous)
					if current.Environment["RESTIC_PASSWORD"] != s.current || previous.Environment["RESTIC_PASSWORD"] != s.previous || has != (s.previous != "") {
						t.Errorf("after %s: %v and %v, want %q and %q", s.what, current.Environment, previous.Environment, s.current, s.previous)
					}
				}
			}
		})
	}
}

func TestAnotherClientCertificateIsAnotherCredential(t *testing.T) {
	v := open(t, filepath.Join(t.TempDir(), "secrets.enc"))
	a, b := credential("a"), credential("a")
	a.ClientCertificate, b.ClientCertificate = "first", "second"
	for _, c := range []wire.Credential{a, b} {
		if err := v.Put(url, repositoryOnly(c)); err != nil {
			t.Fatal(err)
		}
	}
	current, _ := v.Get(wire.CredentialRepository)
	previous, _ := v.Get(Previous)
	if current.ClientCertificate != "second" || previous.ClientCertificate != "first" {
		t.Errorf("certificates are %q and %q", current.ClientCertificate, previous.ClientCertificate)
	}
	if FingerprintOf(a) == FingerprintOf(b) {
		t.Error("the fingerprints are equal")
	}
}

func TestAConfirmationThatCannotBeStoredKeepsTheFormerCredential(t *testing.T) {
	v := open(t, filepath.Join(t.TempDir(), "secrets.enc"))
	for _, password := range []string{"a", "b"} {
		if err := v.Put(url, repositoryOnly(credential(password))); err != nil {
			t.Fatal(err)
		}
	}
	v.write = func(string, []byte) error { return errors.New("no space") }
	if err := v.Confirm(FingerprintOf(credential("b"))); err == nil {
		t.Error("no error")
	}
	if _, has := v.Get(Previous); !has {
		t.Error("the former credential is gone")
	}
}
