package enroll

import (
	"fmt"

	"github.com/restic-manager/restic-manager/api/wire"
)

// Cause classifies a Failure.
type Cause string

// The causes.
const (
	CauseTokenDamaged Cause = "TokenDamaged"
	CauseTokenExpired Cause = "TokenExpired"
	CauseTokenUsed    Cause = "TokenUsed"
	// CauseTokenUnknown: wrong host, or a newer token was minted.
	CauseTokenUnknown Cause = "TokenUnknown"
	CauseRefused      Cause = "Refused"
	CauseClock        Cause = "ClockWrong"
	CauseExists       Cause = "AlreadyEnrolled"
	CauseStorage      Cause = "CannotWrite"
	CauseGateway      Cause = "GatewayUnreachable"
	CauseTimeout      Cause = "NoVerdict"
	// CauseForged: an answer that the controllers did not sign for this machine.
	CauseForged  Cause = "VerdictForged"
	CauseStopped Cause = "Stopped"
)

// Failure says in a sentence why the machine is not enrolled, and what to do.
type Failure struct {
	Cause   Cause
	Message string

	wrapped error
}

func (f *Failure) Error() string { return f.Message }

// Unwrap gives the error behind it, where there is one.
func (f *Failure) Unwrap() error { return f.wrapped }

func fail(cause Cause, format string, args ...any) *Failure {
	return &Failure{Cause: cause, Message: fmt.Sprintf(format, args...)}
}

func (f *Failure) because(err error) *Failure {
	f.wrapped = err
	return f
}

// newToken is how one gets another token.
func newToken(host wire.HostRef) string {
	return fmt.Sprintf("ask for a new one: kubectl annotate host -n %s %s --overwrite backup.restic-manager.io/mint-enrollment-token=$(date +%%s), "+
		"and copy the command line from the Secret %s-enrollment", host.Namespace, host.Name, host.Name)
}
