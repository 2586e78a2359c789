package desired

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/restic-manager/restic-manager/agent/atomicfile/atomicfiletest"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/api/wire/seal"
)

func TestAGoodSetComesIntoForceAndSurvivesARestart(t *testing.T) {
	m := newMachine(t, "web-1")
	s := m.open()
	inForce(t, s, "")
	if s.Current() != nil || s.AppliedSerial() != 0 || s.Problem() != nil {
		t.Fatal("a new machine has a set")
	}
	changed := s.Changed()
	applied(t, s.Offer(m.offer(100, "r1", "secret-1")), "r1")
	select {
	case <-changed:
	default:
		t.Error("nobody was told of the change")
	}
	for range 2 {
		inForce(t, s, "r1")
		if s.AppliedSerial() != 100 || m.vault.password() != "secret-1" || s.Current().Groups[0].Name != "etc" {
			t.Errorf("in force: %+v", s.Current())
		}
		s = m.open()
	}
	info, err := os.Stat(m.path())
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode is %o, want 600", info.Mode().Perm())
	}
	data, err := os.ReadFile(m.path())
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(data), "secret-1") {
		t.Error("the file holds a password in plain text")
	}
}

func TestANewerSetReplacesTheOneInForceWholly(t *testing.T) {
	m := newMachine(t, "web-1")
	s := m.open()
	applied(t, s.Offer(m.offer(100, "r1", "secret-1")), "r1")
	applied(t, s.Offer(m.offer(101, "r2", "secret-2")), "r2")
	inForce(t, m.open(), "r2")
	if m.vault.password() != "secret-2" {
		t.Error("the vault still holds the earlier credential")
	}
}

func TestOfferingTheSetInForceAgainIsAcknowledgedAndWritesNothing(t *testing.T) {
	m := newMachine(t, "web-1")
	disk := atomicfiletest.New(FileName)
	m.config.File = disk
	s := m.open()
	offer := m.offer(100, "r1", "secret-1")
	applied(t, s.Offer(offer), "r1")
	writes, changed := m.vault.writes, s.Changed()
	disk.Fail(errors.New("must not write"))
	applied(t, s.Offer(offer), "r1")
	select {
	case <-changed:
		t.Error("a repetition was told as a change")
	default:
	}
	if m.vault.writes != writes {
		t.Error("a repetition was written to the vault")
	}
}

func TestSetsThatAreRefused(t *testing.T) {
	m := newMachine(t, "web-1")
	other := newMachine(t, "web-2")
	other.a = m.a // the same controllers
	stranger := newKey(t)

	for name, c := range map[string]struct {
		offer  func() wire.SetOffer
		reason wire.RefusalReason
		part   string
	}{
		"unsigned": {
			func() wire.SetOffer { o := m.offer(201, "r2", "x"); o.Signatures = nil; return o },
			wire.RefusalBadSignature, "not signed",
		},
		"tampered with after it was signed": {
			func() wire.SetOffer {
				o := m.offer(201, "r2", "x")
				o.Bundle = strings.Replace(o.Bundle, "/etc", "/var", 1)
				return o
			},
			wire.RefusalBadSignature, "signature does not match",
		},
		"signed by a stranger": {
			func() wire.SetOffer { return m.sign(m.set(201, "r2"), "x", stranger) },
			wire.RefusalBadSignature, "no key that this machine trusts",
		},
		"signed by a stranger under the name of a trusted key": {
			func() wire.SetOffer {
				o := m.sign(m.set(201, "r2"), "x", stranger)
				o.Signatures[0].KeyID = m.keys(m.a)[0].KeyID
				return o
			},
			wire.RefusalBadSignature, "signature does not match",
		},
		"signed by a stranger, and names its key itself": {
			func() wire.SetOffer {
				set := m.set(201, "r2")
				set.SigningKeys = m.keys(stranger)
				return m.sign(set, "x", stranger)
			},
			wire.RefusalBadSignature, "no key that this machine trusts",
		},
		"with a signature that is cut": {
			func() wire.SetOffer {
				o := m.offer(201, "r2", "x")
				o.Signatures[0].Value = o.Signatures[0].Value[:10]
				return o
			},
			wire.RefusalBadSignature, "signature does not match",
		},
		"for another host": {
			func() wire.SetOffer { return other.offer(201, "r2", "x") },
			wire.RefusalWrongHost, "for host shop/web-2, and this machine is shop/web-1",
		},
		"for earlier keys of this host": {
			func() wire.SetOffer {
				set := m.set(201, "r2")
				set.IdentityHash = other.identity.Hash()
				return m.sign(set, "x", m.a)
			},
			wire.RefusalWrongIdentity, "other keys",
		},
		"older than the set in force": {
			func() wire.SetOffer { return m.offer(199, "r0", "x") },
			wire.RefusalOlderSerial, "199 is older than 200",
		},
		"below the floor of the enrolment": {
			func() wire.SetOffer { return m.offer(99, "r0", "x") },
			wire.RefusalOlderSerial, "begins at 100",
		},
		"with the serial in force and another content": {
			func() wire.SetOffer { return m.offer(200, "r1b", "x") },
			wire.RefusalOlderSerial, "another content",
		},
		"offered under another revision than it has": {
			func() wire.SetOffer { o := m.offer(201, "r2", "x"); o.Revision = "r9"; return o },
			wire.RefusalInvalid, `offered as revision "r9"`,
		},
		"that is another sort of document": {
			func() wire.SetOffer {
				set := m.set(201, "r2")
				bundle := strings.Replace(mustEncode(t, set), wire.ScheduleSetLabel, wire.JobCommandLabel, 1)
				return wire.SetOffer{Revision: "r2", Bundle: bundle, Signatures: m.signer(m.a).Sign(bundle)}
			},
			wire.RefusalInvalid, "label",
		},
		"that names only keys which did not sign it": {
			func() wire.SetOffer {
				set := m.set(201, "r2")
				set.SigningKeys = m.keys(m.b)
				return m.sign(set, "x", m.a)
			},
			wire.RefusalInvalid, "names itself",
		},
		"with a credential sealed by somebody else": {
			func() wire.SetOffer {
				o := m.offer(201, "r2", "x")
				o.Credentials[0] = m.sealed(wire.CredentialRepository, "chosen by the gateway")
				return o
			},
			wire.RefusalBadCredential, "not the one that the set was signed with",
		},
		"with a credential sealed for another machine": {
			func() wire.SetOffer {
				set, c := m.set(201, "r2"), other.sealed(wire.CredentialRepository, "x")
				set.Credentials = []wire.CredentialHash{{Name: c.Name, SHA256: seal.Hash(c.Sealed)}}
				o := m.signBare(set, m.a)
				o.Credentials = []wire.SealedCredential{c}
				return o
			},
			wire.RefusalBadCredential, "other keys",
		},
		"with a credential sealed under another name": {
			func() wire.SetOffer {
				set, c := m.set(201, "r2"), m.sealed("admin", "x")
				c.Name = wire.CredentialRepository
				set.Credentials = []wire.CredentialHash{{Name: c.Name, SHA256: seal.Hash(c.Sealed)}}
				o := m.signBare(set, m.a)
				o.Credentials = []wire.SealedCredential{c}
				return o
			},
			wire.RefusalBadCredential, "credential repository",
		},
		"without the credential that it names": {
			func() wire.SetOffer { o := m.offer(201, "r2", "x"); o.Credentials = nil; return o },
			wire.RefusalBadCredential, "is missing",
		},
		"with a credential that it does not name": {
			func() wire.SetOffer {
				o := m.offer(201, "r2", "x")
				o.Credentials = append(o.Credentials, m.sealed("extra", "x"))
				return o
			},
			wire.RefusalBadCredential, "not named",
		},
		"with a credential twice": {
			func() wire.SetOffer {
				o := m.offer(201, "r2", "x")
				o.Credentials = append(o.Credentials, o.Credentials[0])
				return o
			},
			wire.RefusalBadCredential, "twice",
		},
		"that the machine's own rule refuses": {
			func() wire.SetOffer {
				set := m.set(201, "r2")
				set.Schedules[0].Cron = "0 0 31 2 *"
				return m.sign(set, "x", m.a)
			},
			wire.RefusalInvalid, "never fires",
		},
		"that is a tombstone below the serial in force": {
			func() wire.SetOffer { return m.tombstone(150) },
			wire.RefusalOlderSerial, "150 is older than 200",
		},
	} {
		t.Run("a set "+name, func(t *testing.T) {
			m.dir = t.TempDir()
			m.vault = &fakeVault{}
			m.config.Dir, m.config.Vault = m.dir, m.vault
			m.config.Check = func(s *wire.ScheduleSet) error {
				if s.Schedules[0].Cron == "0 0 31 2 *" {
					return errors.New("schedule nightly never fires")
				}
				return nil
			}
			s := m.open()
			applied(t, s.Offer(m.offer(200, "r1", "secret-1")), "r1")
			changed := s.Changed()
			ack := s.Offer(c.offer())
			refused(t, ack, c.reason, c.part)
			select {
			case <-changed:
				t.Error("a refused set was told as a change")
			default:
			}
			for range 2 {
				inForce(t, s, "r1")
				if m.vault.password() != "secret-1" {
					t.Error("the credential of the set in force is gone")
				}
				s = m.open()
			}
		})
	}
}
