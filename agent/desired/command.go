package desired

import (
	"time"

	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/api/wire/seal"
)

// VerifyCommand returns a command that may be obeyed, or a *Refusal. It does not know whether the command was run before.
func (s *Store) VerifyCommand(run wire.CommandRun) (*wire.JobCommand, error) {
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
	if len(run.Credentials) > 0 {
		return nil, refuse(wire.RefusalBadCredential, "credential %q travels with the command and is not named in it", run.Credentials[0].Name)
	}
	return command, nil
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
