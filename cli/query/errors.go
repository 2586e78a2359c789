package query

import (
	"errors"
	"fmt"

	"github.com/restic-manager/restic-manager/api/wire"
)

// Problem classifies why a question got no complete answer.
type Problem string

// The problems. Those of the machine itself are its wire.AnswerReason.
const (
	// ProblemNotEnrolled: the Host has no keys to seal to.
	ProblemNotEnrolled Problem = "NotEnrolled"
	// ProblemStalled: the controllers do not sign the question; their message tells why.
	ProblemStalled Problem = "Stalled"
	// ProblemNotSigned: nobody signed it in time.
	ProblemNotSigned Problem = "NotSigned"
	// ProblemNotConnected: no gateway holds the machine's agent.
	ProblemNotConnected Problem = "NotConnected"
	// ProblemUnreachable: the gateway cannot be reached from here.
	ProblemUnreachable Problem = "GatewayUnreachable"
	// ProblemRefused: the gateway refused, or the machine did before it could seal anything.
	ProblemRefused Problem = "Refused"
	// ProblemUnknown: the gateway knows no such query.
	ProblemUnknown Problem = "UnknownQuery"
	// ProblemBusy: the machine or the gateway has too much to do.
	ProblemBusy Problem = "Busy"
	// ProblemLost: the stream broke off.
	ProblemLost Problem = "Lost"
	// ProblemExpired: the time of the query was over before the answer was.
	ProblemExpired Problem = "Expired"
	// ProblemForged: the answer is not the machine's, or was changed on the way.
	ProblemForged Problem = "Forged"
)

// Error is an answer that did not come, or not to its end.
type Error struct {
	Problem Problem
	// Message says what is wrong and what to do.
	Message string
	cause   error
}

func (e *Error) Error() string { return e.Message }
func (e *Error) Unwrap() error { return e.cause }

// Again tells whether the same question may be answered a little later.
func (e *Error) Again() bool {
	switch e.Problem {
	case ProblemNotConnected, ProblemUnreachable, ProblemLost, ProblemExpired, ProblemNotSigned, ProblemUnknown, ProblemBusy:
		return true
	}
	return false
}

// ProblemOf is that of an error of this package, or empty.
func ProblemOf(err error) Problem {
	if e, is := errors.AsType[*Error](err); is {
		return e.Problem
	}
	return ""
}

func problem(p Problem, cause error, format string, args ...any) *Error {
	return &Error{Problem: p, Message: fmt.Sprintf(format, args...), cause: cause}
}

// answerError words an answer that the machine says is not complete.
func answerError(host wire.HostRef, end wire.AnswerEnd) error {
	what := end.Message
	if what == "" {
		what = "no reason was given"
	}
	p := Problem(end.Reason)
	switch end.Reason {
	case "":
		return nil
	case wire.AnswerNotAllowed:
		return problem(p, nil, "the owner of machine %s does not allow this question: %s. Its agent.yaml decides (allow.queries)", host, what)
	case wire.AnswerNotFound:
		return problem(p, nil, "machine %s does not have it: %s", host, what)
	case wire.AnswerInvalid:
		return problem(p, nil, "machine %s does not understand the question: %s", host, what)
	case wire.AnswerBusy:
		return problem(p, nil, "machine %s answers as many questions as it may (%d): try again when one of them is over", host, wire.MaxStreams)
	case wire.AnswerExpired:
		return problem(p, nil, "the time of the question was over before machine %s had answered all", host)
	case wire.AnswerTooLarge:
		return problem(p, nil, "the answer of machine %s is over the limit and was cut: %s. Ask for less at once", host, what)
	}
	return problem(p, nil, "machine %s could not answer: %s", host, what)
}

// refusalError words a refusal that came before anything could be sealed.
func refusalError(host wire.HostRef, reason wire.RefusalReason) error {
	switch reason {
	case wire.RefusalNotAllowed:
		return problem(ProblemRefused, nil, "the owner of machine %s does not allow questions (%s): its agent.yaml decides (allow.queries)", host, reason)
	case wire.RefusalExpired:
		return problem(ProblemRefused, nil, "machine %s took the question for expired (%s): compare its clock with the cluster's (kubectl restic doctor %s -n %s)", host, reason, host.Name, host.Namespace)
	case wire.RefusalBadSignature, wire.RefusalWrongIdentity, wire.RefusalWrongHost:
		return problem(ProblemRefused, nil, "machine %s did not accept the question (%s): it trusts other controllers, or was enrolled anew. Ask again; if that does not help, enrol it again (kubectl restic enroll %s -n %s)",
			host, reason, host.Name, host.Namespace)
	}
	return problem(ProblemRefused, nil, "machine %s did not accept the question: %s", host, reason)
}
