package desired

import (
	"crypto/ed25519"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/api/wire/seal"
)

func (m *machine) command(uid string) *wire.JobCommand {
	return &wire.JobCommand{
		Label: wire.JobCommandLabel, Host: m.host, IdentityHash: m.identity.Hash(), Name: "now", UID: uid,
		NotAfter: now.Add(time.Hour), Kind: wire.JobBackup, ResticHost: m.host.ResticHost(),
		Repository: wire.Repository{URL: "rest:https://backup.example.com/web-1", Credential: wire.CredentialRepository},
		Backup:     &wire.SourceGroup{Name: "etc", Tag: "etc", Includes: []string{"/etc"}},
	}
}

func (m *machine) run(c *wire.JobCommand, keys ...ed25519.PrivateKey) wire.CommandRun {
	m.t.Helper()
	raw := mustEncode(m.t, c)
	return wire.CommandRun{JobID: wire.CommandID(c.UID), Command: raw, Signatures: m.signer(keys...).Sign(raw)}
}

// prune is a command that names credentials.
func (m *machine) prune(named ...wire.SealedCredential) *wire.JobCommand {
	c := m.command("uid-1")
	c.Kind, c.Backup, c.Prune = wire.JobPrune, nil, &wire.Prune{}
	c.Repository = wire.Repository{URL: "rest:https://admin.example.com/web-1", SameAs: c.Repository.URL, Credential: wire.CredentialAdmin}
	for _, s := range named {
		c.Credentials = append(c.Credentials, wire.CredentialHash{Name: s.Name, SHA256: seal.Hash(s.Sealed)})
	}
	return c
}

// carrying is a command with credentials beside it.
func (m *machine) carrying(c *wire.JobCommand, beside ...wire.SealedCredential) wire.CommandRun {
	m.t.Helper()
	run := m.run(c, m.a)
	run.Credentials = beside
	return run
}

func (m *machine) cancel(c *wire.JobCancel, keys ...ed25519.PrivateKey) wire.CommandCancel {
	m.t.Helper()
	raw := mustEncode(m.t, c)
	return wire.CommandCancel{JobID: wire.CommandID(c.UID), Cancel: raw, Signatures: m.signer(keys...).Sign(raw)}
}

func (m *machine) cancellation(uid string) *wire.JobCancel {
	return &wire.JobCancel{Label: wire.JobCancelLabel, Host: m.host, IdentityHash: m.identity.Hash(), UID: uid}
}

func checkRefusal(t *testing.T, err error, reason wire.RefusalReason, part string) {
	t.Helper()
	var r *Refusal
	if !errors.As(err, &r) {
		t.Fatalf("error is %v, want a refusal for %s", err, reason)
	}
	if r.Reason != reason || !strings.Contains(r.Message, part) {
		t.Errorf("refusal is %s %q, want %s and %q", r.Reason, r.Message, reason, part)
	}
}

func TestAGoodCommandIsObeyedBeforeAndAfterTheFirstSet(t *testing.T) {
	m := newMachine(t, "web-1")
	s := m.open()
	offer := m.offer(100, "r1", "s")
	for range 2 {
		want := m.command("uid-1")
		got, err := s.VerifyCommand(m.run(want, m.a))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got.JobCommand); diff != "" {
			t.Errorf("command (-want +got):\n%s", diff)
		}
		cancel, err := s.VerifyCancel(m.cancel(m.cancellation("uid-1"), m.a))
		if err != nil || cancel.UID != "uid-1" {
			t.Errorf("cancellation is %+v, %v", cancel, err)
		}
		applied(t, s.Offer(offer), "r1")
	}
}

func TestCommandsThatAreRefused(t *testing.T) {
	m := newMachine(t, "web-1")
	other := newMachine(t, "web-2")
	s := m.open()
	applied(t, s.Offer(m.offer(100, "r1", "s")), "r1")
	with := func(change func(*wire.JobCommand)) wire.CommandRun {
		c := m.command("uid-1")
		change(c)
		return m.run(c, m.a)
	}
	unsigned := m.run(m.command("uid-1"), m.a)
	unsigned.Signatures = nil
	tampered := m.run(m.command("uid-1"), m.a)
	tampered.Command = strings.Replace(tampered.Command, "/etc", "/root", 1)
	renamed := m.run(m.command("uid-1"), m.a)
	renamed.JobID = wire.CommandID("uid-2")
	admin, another, target, repository := m.sealed("admin", "x"), m.sealed("admin", "y"), m.sealed("target", "x"), m.sealed(wire.CredentialRepository, "x")
	stranger := other.sealed("admin", "x")
	renamedTarget := wire.SealedCredential{Name: "admin", Sealed: target.Sealed}
	stuffed := m.run(m.command("uid-1"), m.a)
	stuffed.Credentials = []wire.SealedCredential{m.sealed("admin", "x")}
	cancel := m.cancel(m.cancellation("uid-1"), m.a)

	for name, c := range map[string]struct {
		run    wire.CommandRun
		reason wire.RefusalReason
		part   string
	}{
		"unsigned":                       {unsigned, wire.RefusalBadSignature, "not signed"},
		"tampered with":                  {tampered, wire.RefusalBadSignature, "does not match"},
		"signed by a stranger":           {m.run(m.command("uid-1"), newKey(t)), wire.RefusalBadSignature, "no key"},
		"for another host":               {with(func(c *wire.JobCommand) { c.Host = other.host }), wire.RefusalWrongHost, "shop/web-2"},
		"for earlier keys":               {with(func(c *wire.JobCommand) { c.IdentityHash = "old" }), wire.RefusalWrongIdentity, "other keys"},
		"expired":                        {with(func(c *wire.JobCommand) { c.NotAfter = now.Add(-time.Second) }), wire.RefusalExpired, "02:29:59"},
		"expiring at this instant":       {with(func(c *wire.JobCommand) { c.NotAfter = now }), wire.RefusalExpired, "02:30:00"},
		"sent under another job's id":    {renamed, wire.RefusalInvalid, "job-uid-2"},
		"with a credential not named":    {stuffed, wire.RefusalBadCredential, "admin"},
		"without its credential":         {m.carrying(m.prune(admin)), wire.RefusalBadCredential, `"admin" is missing`},
		"with another credential":        {m.carrying(m.prune(admin), another), wire.RefusalBadCredential, "not the one that the command was signed with"},
		"with a credential twice":        {m.carrying(m.prune(admin), admin, admin), wire.RefusalBadCredential, "travels twice"},
		"that names a credential twice":  {m.carrying(m.prune(admin, admin), admin), wire.RefusalBadCredential, "names the credential"},
		"with one more than it names":    {m.carrying(m.prune(admin), admin, target), wire.RefusalBadCredential, `"target" travels with the command`},
		"with a stranger's credential":   {m.carrying(m.prune(stranger), stranger), wire.RefusalBadCredential, "credential admin"},
		"with one that has another name": {m.carrying(m.prune(renamedTarget), renamedTarget), wire.RefusalBadCredential, "credential admin"},
		"with the machine's own":         {m.carrying(m.prune(repository, admin), repository, admin), wire.RefusalBadCredential, "comes with the schedule set"},
		"that needs another credential":  {m.carrying(m.prune(target), target), wire.RefusalBadCredential, `needs the credential "admin"`},
		"that is a cancellation":         {wire.CommandRun{JobID: cancel.JobID, Command: cancel.Cancel, Signatures: cancel.Signatures}, wire.RefusalInvalid, "label"},
		"without any text":               {wire.CommandRun{JobID: "job-uid-1"}, wire.RefusalInvalid, "command is missing"},
		"of a kind unknown to the agent": {unknownKind(m), wire.RefusalInvalid, "Teleport"},
	} {
		t.Run("a command "+name, func(t *testing.T) {
			got, err := s.VerifyCommand(c.run)
			if got != nil {
				t.Errorf("command is %+v, want none", got)
			}
			checkRefusal(t, err, c.reason, c.part)
		})
	}
}

func TestWhatTravelsWithACommandIsOpenedAtItsUseAndKeptNowhere(t *testing.T) {
	m := newMachine(t, "web-1")
	s := m.open()
	applied(t, s.Offer(m.offer(100, "r1", "ordinary")), "r1")
	writes := m.vault.writes
	admin := m.sealed(wire.CredentialAdmin, "admin-hunter2")
	c, err := s.VerifyCommand(m.carrying(m.prune(admin), admin))
	if err != nil {
		t.Fatal(err)
	}
	if !c.Carries(wire.CredentialAdmin) || c.Carries(wire.CredentialRepository) || c.Carries(wire.CredentialTarget) {
		t.Error("the command does not carry the credential admin alone")
	}
	for range 2 {
		got, err := c.Credential(wire.CredentialAdmin)
		if err != nil || got.Environment["RESTIC_PASSWORD"] != "admin-hunter2" {
			t.Errorf("credential is %v, %v", got.Environment, err)
		}
	}
	if _, err := c.Credential(wire.CredentialRepository); err == nil || !strings.Contains(err.Error(), "travels with the command") {
		t.Errorf("the machine's own: %v", err)
	}
	if m.vault.writes != writes || m.vault.password() != "ordinary" {
		t.Errorf("the vault was written: %v", m.vault.credentials)
	}
}

func unknownKind(m *machine) wire.CommandRun {
	c := m.command("uid-1")
	c.Kind, c.Backup = wire.JobInit, nil
	raw := strings.Replace(mustEncode(m.t, c), `"Init"`, `"Teleport"`, 1)
	return wire.CommandRun{JobID: wire.CommandID("uid-1"), Command: raw, Signatures: m.signer(m.a).Sign(raw)}
}

func TestCancellationsThatAreRefused(t *testing.T) {
	m := newMachine(t, "web-1")
	other := newMachine(t, "web-2")
	s := m.open()
	unsigned := m.cancel(m.cancellation("uid-1"), m.a)
	unsigned.Signatures = nil
	foreign := m.cancellation("uid-1")
	foreign.Host = other.host
	stale := m.cancellation("uid-1")
	stale.IdentityHash = other.identity.Hash()
	renamed := m.cancel(m.cancellation("uid-1"), m.a)
	renamed.JobID = wire.CommandID("uid-2")
	run := m.run(m.command("uid-1"), m.a)

	for name, c := range map[string]struct {
		cancel wire.CommandCancel
		reason wire.RefusalReason
		part   string
	}{
		"unsigned":                    {unsigned, wire.RefusalBadSignature, "not signed"},
		"signed by a stranger":        {m.cancel(m.cancellation("uid-1"), newKey(t)), wire.RefusalBadSignature, "no key"},
		"for another host":            {m.cancel(foreign, m.a), wire.RefusalWrongHost, "shop/web-2"},
		"for earlier keys":            {m.cancel(stale, m.a), wire.RefusalWrongIdentity, "other keys"},
		"sent under another job's id": {renamed, wire.RefusalInvalid, "job-uid-2"},
		"that is a command":           {wire.CommandCancel{JobID: run.JobID, Cancel: run.Command, Signatures: run.Signatures}, wire.RefusalInvalid, "label"},
		"without any text":            {wire.CommandCancel{JobID: "job-uid-1"}, wire.RefusalInvalid, "cancel is missing"},
	} {
		t.Run("a cancellation "+name, func(t *testing.T) {
			got, err := s.VerifyCancel(c.cancel)
			if got != nil {
				t.Errorf("cancellation is %+v, want none", got)
			}
			checkRefusal(t, err, c.reason, c.part)
		})
	}
}

func TestCommandsFollowTheKeysOfTheSetInForce(t *testing.T) {
	m := newMachine(t, "web-1")
	s := m.open()
	set := m.set(100, "new key")
	set.SigningKeys = m.keys(m.b)
	applied(t, s.Offer(m.sign(set, "s", m.a, m.b)), "new key")
	if _, err := s.VerifyCommand(m.run(m.command("uid-1"), m.b)); err != nil {
		t.Error(err)
	}
	_, err := s.VerifyCommand(m.run(m.command("uid-1"), m.a))
	checkRefusal(t, err, wire.RefusalBadSignature, "no key")
}

func TestAMachineWhoseHostWasRemovedTakesNoCommands(t *testing.T) {
	m := newMachine(t, "web-1")
	s := m.open()
	applied(t, s.Offer(m.tombstone(100)), "removed")
	_, err := s.VerifyCommand(m.run(m.command("uid-1"), m.a))
	checkRefusal(t, err, wire.RefusalWrongHost, "removed")
	if _, err := s.VerifyCancel(m.cancel(m.cancellation("uid-1"), m.a)); err != nil {
		t.Errorf("a running job can no longer be cancelled: %v", err)
	}
}
