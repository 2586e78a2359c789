package stream

import (
	"strings"

	"github.com/restic-manager/restic-manager/api/wire"
)

// maxText bounds the reason in a close frame.
const maxText = 123

// End is how a stream ended. It is an error, so that it can be the cause of a context.
type End struct {
	Reason wire.StreamEnd
	// Refusal is the agent's, with wire.StreamRefused.
	Refusal wire.RefusalReason
}

// The ends without a refusal.
var (
	Done    = End{Reason: wire.StreamDone}
	Lost    = End{Reason: wire.StreamLost}
	Expired = End{Reason: wire.StreamExpired}
)

// Error implements error.
func (e End) Error() string { return "the stream ended: " + e.Text() }

// Text is the reason in a close frame.
func (e End) Text() string { return wire.Cut(string(e.Reason)+string(e.Refusal), maxText) }

// ParseEnd reads what Text wrote. What it does not know is a stream that was lost.
func ParseEnd(text string) End {
	if refusal, ok := strings.CutPrefix(text, string(wire.StreamRefused)); ok {
		return End{Reason: wire.StreamRefused, Refusal: wire.RefusalReason(refusal)}
	}
	switch end := (End{Reason: wire.StreamEnd(text)}); end {
	case Done, Expired:
		return end
	}
	return Lost
}
