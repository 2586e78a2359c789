package wire

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// NonceSize is the length of a challenge's nonce, in bytes.
const NonceSize = 32

// HelloLabel is the domain label of a hello.
const HelloLabel = "restic-manager/hello/v1"

// Challenge opens a session. Gateway → agent.
type Challenge struct {
	Nonce []byte `json:"nonce"`
	// ServerName is the TLS server name that the agent asked for; the agent compares it with the name that it dialled.
	ServerName string `json:"serverName"`
	// MinProtocol and Protocol tell which versions the gateway speaks.
	MinProtocol int `json:"minProtocol"`
	Protocol    int `json:"protocol"`
}

// MessageType implements Message.
func (*Challenge) MessageType() Type { return TypeChallenge }

// Validate implements Message.
func (m *Challenge) Validate() error {
	var c checks
	c.size("nonce", m.Nonce, NonceSize)
	c.name("serverName", m.ServerName)
	c.that(m.Protocol >= m.MinProtocol && m.MinProtocol > 0, "protocol range %d to %d is empty", m.MinProtocol, m.Protocol)
	return c.err
}

// Hello answers the challenge. Agent → gateway. Body is the exact signed JSON of a HelloBody.
type Hello struct {
	Body      string `json:"body"`
	Signature []byte `json:"signature"`
}

// MessageType implements Message.
func (*Hello) MessageType() Type { return TypeHello }

// Validate implements Message.
func (m *Hello) Validate() error {
	var c checks
	c.that(m.Body != "", "body is missing")
	c.text("body", m.Body, 64<<10)
	c.size("signature", m.Signature, ed25519.SignatureSize)
	return c.err
}

// HelloBody is what an agent says of itself. It is signed whole with the machine's signing key.
type HelloBody struct {
	Label      string  `json:"label"`
	Nonce      []byte  `json:"nonce"`
	ServerName string  `json:"serverName"`
	Host       HostRef `json:"host"`
	Protocol   int     `json:"protocol"`
	// Session is the machine's persisted session counter, incremented before each dial. The greater one wins.
	Session int64 `json:"session"`
	// Process is random per start of the agent process: with it two machines with the same identity are told apart.
	Process       string `json:"process"`
	AgentVersion  string `json:"agentVersion"`
	ResticVersion string `json:"resticVersion,omitempty"`
	System        System `json:"system"`
	// AppliedRevision and AppliedSerial are those of the set in force, empty and 0 when there is none.
	AppliedRevision string `json:"appliedRevision,omitempty"`
	AppliedSerial   int64  `json:"appliedSerial,omitempty"`
	// Epoch is that of the outbox; Unacked is the number of reports in it.
	Epoch   string   `json:"epoch"`
	Unacked int      `json:"unacked"`
	Queued  []string `json:"queued,omitempty"`
	Running []string `json:"running,omitempty"`
	// Clock is the machine's time when it signed.
	Clock time.Time `json:"clock"`
}

// System describes a machine.
type System struct {
	OS       string `json:"os"`
	Arch     string `json:"arch"`
	Hostname string `json:"hostname"`
}

// Validate checks required fields and sizes.
func (b *HelloBody) Validate() error {
	var c checks
	c.that(b.Label == HelloLabel, "label is %q, want %q", b.Label, HelloLabel)
	c.size("nonce", b.Nonce, NonceSize)
	c.name("serverName", b.ServerName)
	c.nested("host", b.Host.Validate())
	c.that(b.Protocol > 0, "protocol is missing")
	c.that(b.Session > 0, "session is missing")
	c.name("process", b.Process)
	c.name("agentVersion", b.AgentVersion)
	c.optionalName("resticVersion", b.ResticVersion)
	c.optionalName("system.os", b.System.OS)
	c.optionalName("system.arch", b.System.Arch)
	c.optionalName("system.hostname", b.System.Hostname)
	c.optionalName("appliedRevision", b.AppliedRevision)
	c.name("epoch", b.Epoch)
	c.texts("queued", b.Queued, 200)
	c.texts("running", b.Running, 200)
	return c.err
}

// SignHello returns the hello for a body.
func SignHello(key ed25519.PrivateKey, body HelloBody) (*Hello, error) {
	body.Label = HelloLabel
	if err := body.Validate(); err != nil {
		return nil, fmt.Errorf("hello: %w", err)
	}
	raw, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("hello: %w", err)
	}
	return &Hello{Body: string(raw), Signature: ed25519.Sign(key, raw)}, nil
}

// ErrBadSignature is returned where a signature does not belong to the bytes and the expected key.
var ErrBadSignature = errors.New("signature does not match")

// Claimed parses the body WITHOUT verifying it: only to learn which host's key to verify with.
func (m *Hello) Claimed() (HelloBody, error) {
	var body HelloBody
	if err := json.Unmarshal([]byte(m.Body), &body); err != nil {
		return HelloBody{}, fmt.Errorf("body: %w", err)
	}
	if err := body.Validate(); err != nil {
		return HelloBody{}, fmt.Errorf("body: %w", err)
	}
	return body, nil
}

// Verify checks the signature against a machine's signing key.
func (m *Hello) Verify(signingKey []byte) error {
	if len(signingKey) != ed25519.PublicKeySize || !ed25519.Verify(signingKey, []byte(m.Body), m.Signature) {
		return ErrBadSignature
	}
	return nil
}

// Wait asks an agent whose hello is good to stay: others come before it. It is said again every WaitEvery until the welcome or an error. Gateway → agent.
type Wait struct {
	// Seconds is how long it may take, as far as the gateway can tell.
	Seconds int `json:"seconds"`
}

// WaitEvery is how often a gateway says that it is still there to an agent that waits for its welcome. An agent leaves when it hears nothing for three times as long.
const WaitEvery = 10 * time.Second

// MessageType implements Message.
func (*Wait) MessageType() Type { return TypeWait }

// Validate implements Message.
func (m *Wait) Validate() error {
	var c checks
	c.that(m.Seconds >= 0 && m.Seconds <= 3600, "seconds is %d, want 0 to 3600", m.Seconds)
	return c.err
}

// Welcome accepts the session. Gateway → agent.
type Welcome struct {
	// HeartbeatSeconds is how often the agent is to send a heartbeat.
	HeartbeatSeconds int `json:"heartbeatSeconds"`
	// PingsCount says that a WebSocket ping is as good as a heartbeat: the agent, which pings to know that the gateway is there, then sends nothing else while it
	// has nothing to say. False from a gateway that is older than this field.
	PingsCount bool `json:"pingsCount,omitempty"`
	// Gateway names the replica, for logs.
	Gateway string `json:"gateway"`
	// Time is the gateway's clock, from which the agent logs its own skew.
	Time time.Time `json:"time"`
}

// MessageType implements Message.
func (*Welcome) MessageType() Type { return TypeWelcome }

// Validate implements Message.
func (m *Welcome) Validate() error {
	var c checks
	c.that(m.HeartbeatSeconds >= 1 && m.HeartbeatSeconds <= 300, "heartbeatSeconds is %d, want 1 to 300", m.HeartbeatSeconds)
	c.name("gateway", m.Gateway)
	return c.err
}

// Heartbeat says that the agent is alive. Agent → gateway. A host without one for OfflineAfter is offline.
type Heartbeat struct{}

// OfflineAfter is how long a host may be silent before it counts as disconnected.
const OfflineAfter = 90 * time.Second

// PingsTogether is what the moments at which agents ping are multiples of, by their wall clocks.
const PingsTogether = 5 * time.Second

// MessageType implements Message.
func (*Heartbeat) MessageType() Type { return TypeHeartbeat }

// Validate implements Message.
func (*Heartbeat) Validate() error { return nil }

// Drain asks the agent to reconnect elsewhere within SpreadSeconds. Gateway → agent.
type Drain struct {
	SpreadSeconds int `json:"spreadSeconds"`
}

// MessageType implements Message.
func (*Drain) MessageType() Type { return TypeDrain }

// Validate implements Message.
func (m *Drain) Validate() error {
	var c checks
	c.that(m.SpreadSeconds >= 0 && m.SpreadSeconds <= 3600, "spreadSeconds is %d, want 0 to 3600", m.SpreadSeconds)
	return c.err
}

// Code classifies an Error.
type Code string

// The codes of an Error, and what an agent does.
const (
	// CodeProtocolTooOld: the agent must be upgraded; it retries rarely (RetryAfterSeconds).
	CodeProtocolTooOld Code = "protocol_too_old"
	// CodeUnknownHost: no such Host, or it has no identity yet, or its set is not published yet; retried with backoff.
	CodeUnknownHost Code = "unknown_host"
	// CodeBadSignature: the identity does not match the Host's; retried rarely; the machine needs to enrol again.
	CodeBadSignature Code = "bad_signature"
	// CodeStaleSession: the session counter is not greater than Session; the agent continues from there.
	CodeStaleSession Code = "stale_session"
	// CodeSuperseded: a newer connection of the same host took over.
	CodeSuperseded Code = "superseded"
	// CodeDuplicateIdentity: two machines use the same identity; this one is refused.
	CodeDuplicateIdentity Code = "duplicate_identity"
	// CodeHostRemoved: the Host was deleted or its identity changed.
	CodeHostRemoved Code = "host_removed"
	// CodeBusy: the gateway sheds load; reconnect after RetryAfterSeconds.
	CodeBusy Code = "busy"
	// CodeBadMessage: the peer sent something invalid.
	CodeBadMessage Code = "bad_message"
)

// Error ends a session or an enrolment with a reason. Both directions.
type Error struct {
	Code    Code   `json:"code"`
	Message string `json:"message"`
	HelpURL string `json:"helpURL,omitempty"`
	// RetryAfterSeconds is the least time to wait before the next attempt; 0 leaves it to the backoff.
	RetryAfterSeconds int `json:"retryAfterSeconds,omitempty"`
	// Session accompanies CodeStaleSession: the counter on record.
	Session int64 `json:"session,omitempty"`
}

// MessageType implements Message.
func (*Error) MessageType() Type { return TypeError }

// Validate implements Message.
func (m *Error) Validate() error {
	var c checks
	c.name("code", string(m.Code))
	c.text("message", m.Message, MaxString)
	c.text("helpURL", m.HelpURL, MaxString)
	c.that(m.RetryAfterSeconds >= 0 && m.RetryAfterSeconds <= 86400, "retryAfterSeconds is %d, want 0 to 86400", m.RetryAfterSeconds)
	return c.err
}

// Error implements error.
func (m *Error) Error() string {
	if m.HelpURL != "" {
		return fmt.Sprintf("%s: %s (%s)", m.Code, m.Message, m.HelpURL)
	}
	return fmt.Sprintf("%s: %s", m.Code, m.Message)
}
