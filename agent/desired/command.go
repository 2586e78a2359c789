package desired

import (
	"fmt"
	"time"

	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/api/wire/seal"
)

// Command is one that may be obeyed.
type Command struct {
	*wire.JobCommand
	sealed map[string]wire.SealedCredential
	open   func(wire.SealedCredential) (wire.Credential, error)
}

// Carries tells whether a credential of this name travels with the command; the others are in the vault.
func (c *Command) Carries(name string) bool {
	_, ok := c.sealed[name]
	return ok
}

// Credential opens one that travels with the command, each time anew: between the uses of a job that waits it lies sealed in memory, and it
// is never on the disk.
func (c *Command) Credential(name string) (wire.Credential, error) {
	sealed, ok := c.sealed[name]
	if !ok {
		return wire.Credential{}, fmt.Errorf("no credential %q travels with the command", name)
	}
	return c.open(sealed)
}

// VerifyCommand returns a command that may be obeyed, or a *Refusal. It does not know whether the command was run before.
func (s *Store) VerifyCommand(run wire.CommandRun) (*Command, error) {
	if err := run.Validate(); err != nil {
		return nil, refuse(wire.RefusalInvalid, "the command is not valid: %v", err)
	}
	if err := seal.Verify(run.Command, run.Signatures, s.Trusted()); err != nil {
		return nil, refuse(wire.RefusalBadSignature, "%v", err)
	}
	command, err := wire.ParseJobCommand(run.Command)
	if err != nil {
		return nil, refuse(wire.RefusalInvalid, "the command is not valid: %v", err)
	}
	if refusal := s.checkAddress("command", command.Host, command.IdentityHash); refusal != nil {
		return nil, refusal
	}
	if refusal := s.checkJob(run.JobID, command.UID); refusal != nil {
		return nil, refusal
	}
	if set := s.Current(); set != nil && set.Tombstone {
		return nil, refuse(wire.RefusalWrongHost, "the Host of this machine was removed; it takes no more work")
	}
	if now := s.config.Clock.Now(); !now.Before(command.NotAfter) {
		return nil, refuse(wire.RefusalExpired, "the command was valid until %s, and this machine's clock says %s",
			command.NotAfter.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	if refusal := s.checkCredentials(command, run.Credentials); refusal != nil {
		return nil, refusal
	}
	verified := &Command{JobCommand: command, open: s.openCredential, sealed: make(map[string]wire.SealedCredential, len(run.Credentials))}
	for _, c := range run.Credentials {
		verified.sealed[c.Name] = c
	}
	return verified, nil
}

// checkCredentials wants exactly the credentials that the signed command names, and that of the vault never among them. They are opened to
// see that they open, and not kept.
func (s *Store) checkCredentials(command *wire.JobCommand, sealed []wire.SealedCredential) *Refusal {
	opened, err := s.openCredentials("command", command.Credentials, sealed)
	if err != nil {
		return refuse(wire.RefusalBadCredential, "%v", err)
	}
	if _, own := opened[wire.CredentialRepository]; own {
		return refuse(wire.RefusalBadCredential, "the credential %q comes with the schedule set, never with a command", wire.CredentialRepository)
	}
	if used := command.Repository.Credential; used != wire.CredentialRepository {
		if _, ok := opened[used]; !ok {
			return refuse(wire.RefusalBadCredential, "the command needs the credential %q, which does not travel with it", used)
		}
	}
	return nil
}

// VerifyCancel returns a cancellation that may be obeyed, or a *Refusal. A cancellation does not expire: what it ends does not come
// back.
func (s *Store) VerifyCancel(m wire.CommandCancel) (*wire.JobCancel, error) {
	if err := m.Validate(); err != nil {
		return nil, refuse(wire.RefusalInvalid, "the cancellation is not valid: %v", err)
	}
	if err := seal.Verify(m.Cancel, m.Signatures, s.Trusted()); err != nil {
		return nil, refuse(wire.RefusalBadSignature, "%v", err)
	}
	cancel, err := wire.ParseJobCancel(m.Cancel)
	if err != nil {
		return nil, refuse(wire.RefusalInvalid, "the cancellation is not valid: %v", err)
	}
	if refusal := s.checkAddress("cancellation", cancel.Host, cancel.IdentityHash); refusal != nil {
		return nil, refusal
	}
	if refusal := s.checkJob(m.JobID, cancel.UID); refusal != nil {
		return nil, refusal
	}
	return cancel, nil
}

// checkJob says whether the unsigned id that a document travels under is that of the signed one.
func (s *Store) checkJob(jobID, uid string) *Refusal {
	if jobID != wire.CommandID(uid) {
		return refuse(wire.RefusalInvalid, "it was sent as job %q, and is signed as %q", jobID, wire.CommandID(uid))
	}
	return nil
}
