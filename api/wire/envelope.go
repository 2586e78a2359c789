package wire

import (
	"encoding/json"
	"errors"
	"fmt"
)

// Protocol versions. An agent below MinProtocol is answered with CodeProtocolTooOld and a help URL.
const (
	Protocol    = 1
	MinProtocol = 1
)

// ConnectPath and EnrolPath are where the gateway listens for agents.
const (
	ConnectPath = "/agent/v1/connect"
	EnrolPath   = "/agent/v1/enroll"
)

// Limits that hold on both sides.
const (
	// MaxFrame is the largest frame that either side reads, in bytes.
	MaxFrame = 1 << 20
	// MaxBundle is the largest signed document, in bytes.
	MaxBundle = 512 << 10
	// MaxString bounds every string that has no bound of its own, in bytes.
	MaxString = 4096
	// MaxName bounds names and ids, in bytes.
	MaxName = 253
	// MaxGroups, MaxSchedules and MaxPaths bound the lists of a schedule set.
	MaxGroups    = 100
	MaxSchedules = 100
	MaxPaths     = 500
	// MaxLogTail bounds the log tail that travels with a result, in bytes.
	MaxLogTail = 8 << 10
	// MaxListed bounds the examples (failed paths) in a result.
	MaxListed = 20
)

// Type names a message.
type Type string

// The messages, in the order of a session. Who sends them is said at their Go types.
const (
	TypeChallenge     Type = "challenge"
	TypeHello         Type = "hello"
	TypeWait          Type = "wait"
	TypeWelcome       Type = "welcome"
	TypeHeartbeat     Type = "heartbeat"
	TypeScheduleSet   Type = "schedule.set"
	TypeScheduleAck   Type = "schedule.ack"
	TypeScheduleFire  Type = "schedule.fire"
	TypeFireVerdict   Type = "fire.verdict"
	TypeCommandRun    Type = "command.run"
	TypeCommandAck    Type = "command.ack"
	TypeCommandCancel Type = "command.cancel"
	TypeJobStarted    Type = "job.started"
	TypeJobProgress   Type = "job.progress"
	TypeJobFinished   Type = "job.finished"
	TypeRepoState     Type = "repo.state"
	TypeRepoStats     Type = "repo.stats"
	TypeReportAck     Type = "report.ack"
	TypeStreamOpen    Type = "stream.open"
	TypeStreamCredit  Type = "stream.credit"
	TypeStreamClose   Type = "stream.close"
	TypeDrain         Type = "drain"
	TypeError         Type = "error"
)

// Message is the payload of a frame.
type Message interface {
	// MessageType is the Type under which the message travels.
	MessageType() Type
	// Validate checks sizes and the presence of required fields; its error names the field.
	Validate() error
}

// New returns an empty message of the given type, or nil for an unknown type.
func New(t Type) Message {
	switch t {
	case TypeChallenge:
		return &Challenge{}
	case TypeHello:
		return &Hello{}
	case TypeWait:
		return &Wait{}
	case TypeWelcome:
		return &Welcome{}
	case TypeHeartbeat:
		return &Heartbeat{}
	case TypeScheduleSet:
		return &SetOffer{}
	case TypeScheduleAck:
		return &SetAck{}
	case TypeScheduleFire:
		return &Fire{}
	case TypeFireVerdict:
		return &Verdict{}
	case TypeCommandRun:
		return &CommandRun{}
	case TypeCommandAck:
		return &CommandAck{}
	case TypeCommandCancel:
		return &CommandCancel{}
	case TypeJobStarted:
		return &JobStarted{}
	case TypeJobProgress:
		return &JobProgress{}
	case TypeJobFinished:
		return &JobFinished{}
	case TypeRepoState:
		return &RepoState{}
	case TypeRepoStats:
		return &RepoStats{}
	case TypeReportAck:
		return &ReportAck{}
	case TypeStreamOpen:
		return &StreamOpen{}
	case TypeStreamCredit:
		return &StreamCredit{}
	case TypeStreamClose:
		return &StreamClose{}
	case TypeDrain:
		return &Drain{}
	case TypeError:
		return &Error{}
	}
	return nil
}

// Types lists every message type, in the order of a session.
func Types() []Type {
	return []Type{TypeChallenge, TypeHello, TypeWait, TypeWelcome, TypeHeartbeat, TypeScheduleSet, TypeScheduleAck, TypeScheduleFire,
		TypeFireVerdict, TypeCommandRun, TypeCommandAck, TypeCommandCancel, TypeJobStarted, TypeJobProgress, TypeJobFinished, TypeRepoState, TypeRepoStats,
		TypeReportAck, TypeStreamOpen, TypeStreamCredit, TypeStreamClose, TypeDrain, TypeError}
}

// Envelope is one frame. ID is chosen by the sender, unique in its session, and only serves logs and tracing.
type Envelope struct {
	Type    Type            `json:"type"`
	ID      string          `json:"id,omitempty"`
	Payload json.RawMessage `json:"payload,omitempty"`
}

// outgoing is an Envelope whose payload is encoded together with it.
type outgoing struct {
	Type    Type    `json:"type"`
	ID      string  `json:"id,omitempty"`
	Payload Message `json:"payload"`
}

// ErrUnknownType is returned by Open for a type that this version does not know; the frame is to be ignored.
var ErrUnknownType = errors.New("unknown message type")

// Encode validates m and returns it as a frame.
func Encode(id string, m Message) ([]byte, error) {
	if err := m.Validate(); err != nil {
		return nil, fmt.Errorf("%s: %w", m.MessageType(), err)
	}
	frame, err := json.Marshal(outgoing{Type: m.MessageType(), ID: id, Payload: m})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", m.MessageType(), err)
	}
	if len(frame) > MaxFrame {
		return nil, fmt.Errorf("%s: frame of %d bytes is over the limit of %d", m.MessageType(), len(frame), MaxFrame)
	}
	return frame, nil
}

// Decode opens a frame without looking into its payload.
func Decode(frame []byte) (Envelope, error) {
	if len(frame) > MaxFrame {
		return Envelope{}, fmt.Errorf("frame of %d bytes is over the limit of %d", len(frame), MaxFrame)
	}
	var e Envelope
	if err := json.Unmarshal(frame, &e); err != nil {
		return Envelope{}, fmt.Errorf("frame is not a message: %w", err)
	}
	if e.Type == "" {
		return Envelope{}, errors.New("frame has no type")
	}
	if len(e.Type) > MaxName || len(e.ID) > MaxName {
		return Envelope{}, fmt.Errorf("type or id is longer than %d bytes", MaxName)
	}
	return e, nil
}

// Open returns the validated payload of e, or ErrUnknownType.
func (e Envelope) Open() (Message, error) {
	m := New(e.Type)
	if m == nil {
		return nil, fmt.Errorf("%w %q", ErrUnknownType, e.Type)
	}
	if len(e.Payload) > 0 {
		if err := json.Unmarshal(e.Payload, m); err != nil {
			return nil, fmt.Errorf("%s: %w", e.Type, err)
		}
	}
	if err := m.Validate(); err != nil {
		return nil, fmt.Errorf("%s: %w", e.Type, err)
	}
	return m, nil
}
