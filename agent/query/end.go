package query

import (
	"errors"

	"github.com/restic-manager/restic-manager/agent/restic"
	"github.com/restic-manager/restic-manager/api/wire"
)

// refusal is an error whose meaning for the one who asks is known.
type refusal struct {
	reason  wire.AnswerReason
	message string
}

func (r *refusal) Error() string { return r.message }

// endOf says how an answer ended.
func endOf(err error) wire.AnswerEnd {
	var known *refusal
	switch {
	case err == nil:
		return wire.AnswerEnd{}
	case errors.As(err, &known):
		return wire.AnswerEnd{Reason: known.reason, Message: known.message}
	case errors.Is(err, errExpired):
		return wire.AnswerEnd{Reason: wire.AnswerExpired, Message: "the time of the query is over: ask again"}
	case errors.Is(err, errStopped):
		return wire.AnswerEnd{Reason: wire.AnswerFailed, Message: "the agent is stopping: ask again when it is back"}
	}
	return wire.AnswerEnd{Reason: reasonOf(restic.KindOf(err)), Message: err.Error()}
}

func reasonOf(kind restic.Kind) wire.AnswerReason {
	switch kind {
	case restic.KindInvalid:
		return wire.AnswerInvalid
	case restic.KindNoSuchSnapshot, restic.KindNothingRestored:
		return wire.AnswerNotFound
	}
	return wire.AnswerFailed
}
