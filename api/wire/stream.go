package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// QueryPath is where the gateway listens for those who collect an answer: QueryPath/<namespace>/<name of the HostQuery>, a WebSocket. StreamSecretHeader
// carries the stream secret in base64.
const (
	QueryPath          = "/query/v1"
	StreamSecretHeader = "Restic-Manager-Stream-Secret"
)

// StreamEnd is the reason in the close frame with which the gateway ends a collector's WebSocket: one of these, or StreamRefused followed by the
// RefusalReason. Before the WebSocket is open a collector gets an HTTP error with an Error as JSON.
type StreamEnd string

// The ends.
const (
	// StreamDone: the agent has sent all (status 1000).
	StreamDone StreamEnd = "done"
	// StreamLost: the session of the agent, or the replica that held it, is gone (status 1001). Ask again.
	StreamLost StreamEnd = "lost"
	// StreamExpired: the time of the query is over, or the query was deleted (status 1008).
	StreamExpired StreamEnd = "expired"
	// StreamRefused: the agent refused the query (status 1008).
	StreamRefused StreamEnd = "refused:"
)

// Codes of an Error that a collector gets.
const (
	// CodeUnknownQuery: no such query, or another secret: which one is not told (HTTP 404).
	CodeUnknownQuery Code = "unknown_query"
	// CodeNotConnected: no replica holds the agent now (HTTP 503).
	CodeNotConnected Code = "not_connected"
)

// Limits of streams.
const (
	// MaxChunk is the most plaintext in one chunk of a stream, in bytes.
	MaxChunk = 128 << 10
	// MaxUnpacked is the most plaintext that a packed chunk may hold, in bytes; packed it is bounded by MaxChunk.
	MaxUnpacked = 512 << 10
	// ChunkOverhead is what sealing and framing add to it at most.
	ChunkOverhead = 64
	// StreamWindow is how many bytes of chunks may be under way to a collector that has taken none, in bytes: the credit that a stream begins with.
	StreamWindow = 1 << 20
	// MaxStreams is how many answers one machine gives at once.
	MaxStreams = 4
)

// StreamOpen asks for an answer. Gateway → agent, once somebody is there to collect it. The agent answers with data frames, or StreamClose.
type StreamOpen struct {
	// Stream numbers the streams of a session; the gateway chooses it.
	Stream uint32 `json:"stream"`
	// Query is the exact signed JSON of a HostQuery.
	Query      string      `json:"query"`
	Signatures []Signature `json:"signatures"`
	// Credit is how many bytes of data frames the agent may send before the first StreamCredit. Whole frames count: the number of the stream and the chunk.
	Credit int64 `json:"credit"`
}

// MessageType implements Message.
func (*StreamOpen) MessageType() Type { return TypeStreamOpen }

// Validate implements Message.
func (m *StreamOpen) Validate() error {
	var c checks
	c.that(m.Query != "", "query is missing")
	c.text("query", m.Query, MaxBundle)
	checkSignatures(&c, m.Signatures)
	c.that(m.Credit >= MaxChunk+ChunkOverhead, "credit is below one chunk")
	return c.err
}

// StreamCredit lets the agent send so many bytes of data frames more. Gateway → agent.
type StreamCredit struct {
	Stream uint32 `json:"stream"`
	Bytes  int64  `json:"bytes"`
}

// MessageType implements Message.
func (*StreamCredit) MessageType() Type { return TypeStreamCredit }

// Validate implements Message.
func (m *StreamCredit) Validate() error {
	var c checks
	c.that(m.Bytes > 0 && m.Bytes <= StreamWindow, "bytes is %d, want 1 to %d", m.Bytes, StreamWindow)
	return c.err
}

// StreamClose ends a stream. From the agent: the answer is over, or with a Reason the query itself was refused, before anything could be sealed. From the
// gateway: nobody collects any more. It carries nothing of what was asked or answered.
type StreamClose struct {
	Stream uint32        `json:"stream"`
	Reason RefusalReason `json:"reason,omitempty"`
}

// MessageType implements Message.
func (*StreamClose) MessageType() Type { return TypeStreamClose }

// Validate implements Message.
func (m *StreamClose) Validate() error {
	var c checks
	c.optionalName("reason", string(m.Reason))
	return c.err
}

// dataHeader is the number of a stream.
const dataHeader = 4

// EncodeData is a binary frame: the number of the stream (4 bytes, big-endian) and a sealed chunk. The first chunk of a stream is its opening.
func EncodeData(stream uint32, chunk []byte) []byte {
	return AppendData(make([]byte, 0, dataHeader+len(chunk)), stream, chunk)
}

// AppendData appends a binary frame to memory that is used again.
func AppendData(frame []byte, stream uint32, chunk []byte) []byte {
	return append(binary.BigEndian.AppendUint32(frame, stream), chunk...)
}

// DecodeData reads a binary frame. The chunk is part of it.
func DecodeData(frame []byte) (stream uint32, chunk []byte, err error) {
	switch {
	case len(frame) <= dataHeader:
		return 0, nil, errors.New("a binary frame without data")
	case len(frame) > dataHeader+MaxChunk+ChunkOverhead:
		return 0, nil, fmt.Errorf("a binary frame of %d bytes, at most %d are allowed", len(frame), dataHeader+MaxChunk+ChunkOverhead)
	}
	return binary.BigEndian.Uint32(frame), frame[dataHeader:], nil
}
