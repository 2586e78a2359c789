package wire

import (
	"encoding/json"
	"errors"
	"fmt"
)

// ChunkKind is the first byte of a chunk's plaintext, and says what the rest is.
type ChunkKind byte

// The kinds of chunks.
const (
	// ChunkRecords holds records of the answer: JSON objects, each followed by a line feed.
	ChunkRecords ChunkKind = 'R'
	// ChunkData is a piece of a log or of a file.
	ChunkData ChunkKind = 'D'
	// ChunkPacked holds another chunk, compressed with S2: see package pack.
	ChunkPacked ChunkKind = 'P'
	// ChunkEnd is an AnswerEnd, and the last one.
	ChunkEnd ChunkKind = 'E'
)

// ErrChunkFull is returned by AppendRecord when the record has no room: the chunk is to be sent first.
var ErrChunkFull = errors.New("the chunk is full")

// AppendRecord appends v to the plaintext of a chunk of records; an empty chunk begins one.
func AppendRecord(chunk []byte, v any) ([]byte, error) {
	raw, err := json.Marshal(v)
	switch {
	case err != nil:
		return chunk, err
	case len(raw)+2 > MaxChunk:
		return chunk, fmt.Errorf("a record of %d bytes is over the limit of %d", len(raw), MaxChunk-2)
	case len(chunk)+len(raw)+1 > MaxChunk:
		return chunk, ErrChunkFull
	}
	if len(chunk) == 0 {
		chunk = append(chunk, byte(ChunkRecords))
	}
	return append(append(chunk, raw...), '\n'), nil
}

// EndChunk is the plaintext of the last chunk.
func EndChunk(end AnswerEnd) []byte {
	raw, err := json.Marshal(end)
	if err != nil { // two strings always encode
		raw = []byte(`{"reason":"Failed"}`)
	}
	return append([]byte{byte(ChunkEnd)}, raw...)
}

// DecodeChunk splits the plaintext of a chunk.
func DecodeChunk(plaintext []byte) (ChunkKind, []byte, error) {
	if len(plaintext) == 0 {
		return 0, nil, errors.New("an empty chunk")
	}
	return ChunkKind(plaintext[0]), plaintext[1:], nil
}
