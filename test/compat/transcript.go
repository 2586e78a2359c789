package compat

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
)

// Names in every record.
const (
	Namespace = "compat"
	Host      = "web-1"
	Group     = "etc"
	Schedule  = "every-minute"
	Job       = "now"
)

// Who sent a line.
const (
	Agent   = "agent"
	Gateway = "gateway"
)

// Line is one message of a transcript: a frame of the session, or the body of a request or its answer.
type Line struct {
	From string `json:"from"`
	Path string `json:"path"`
	// Status of an HTTP answer.
	Status int    `json:"status,omitempty"`
	Text   string `json:"text,omitempty"`
	// Data of a binary frame.
	Data []byte `json:"data,omitempty"`
}

// Type of a text frame, empty for anything else.
func (l Line) Type() string {
	var frame struct {
		Type string `json:"type"`
	}
	if json.Unmarshal([]byte(l.Text), &frame) != nil {
		return ""
	}
	return frame.Type
}

// Keys of a record are of no use but for it.
type Keys struct {
	HostUID     string `json:"hostUID"`
	SerialFloor int64  `json:"serialFloor"`
	// SigningSeed and SealingKey are the machine's private keys, Identity their public halves as they stand in the Host.
	SigningSeed []byte                `json:"signingSeed"`
	SealingKey  []byte                `json:"sealingKey"`
	Identity    v1alpha1.HostIdentity `json:"identity"`
	// Controllers is the signing key, in PEM.
	Controllers string `json:"controllers"`
}

// Record is what a folder of wire holds.
type Record struct {
	Version string
	Lines   []Line
	Keys    Keys
}

// Read reads a record.
func Read(folder string) (*Record, error) {
	r := &Record{Version: filepath.Base(folder)}
	raw, err := os.ReadFile(filepath.Join(folder, "transcript.jsonl"))
	if err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(bytes.NewReader(raw))
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var line Line
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			return nil, fmt.Errorf("%s: line %d: %w", folder, len(r.Lines)+1, err)
		}
		r.Lines = append(r.Lines, line)
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if raw, err = os.ReadFile(filepath.Join(folder, "keys.json")); err != nil {
		return nil, err
	}
	return r, json.Unmarshal(raw, &r.Keys)
}

// Frames are those of the session that one side sent, of some types; none means all text frames.
func (r *Record) Frames(from string, types ...string) []Line {
	var found []Line
	for _, l := range r.Lines {
		t := l.Type()
		if l.From != from || l.Path != "/agent/v1/connect" || t == "" {
			continue
		}
		wanted := len(types) == 0
		for _, w := range types {
			wanted = wanted || w == t
		}
		if wanted {
			found = append(found, l)
		}
	}
	return found
}
