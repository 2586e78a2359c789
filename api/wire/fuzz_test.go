package wire_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/restic-manager/restic-manager/api/wire"
)

// The fuzz targets hold the peer's promise from the other side: whatever arrives, nothing panics, and what is accepted can be sent on
// and means the same.

// same compares what was read with what was read again. An empty list and a missing one are the same on the wire.
func same(t *testing.T, first, second any) {
	t.Helper()
	if diff := cmp.Diff(first, second, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("encoded and read again it means something else (-first +second):\n%s", diff)
	}
}

func seedFrames(f *testing.F, types ...wire.Type) {
	f.Helper()
	for _, typ := range types {
		seedFiles(f, string(typ), func(raw []byte) { f.Add(raw) })
	}
	for name := range sampleVariants(f) {
		if slices.ContainsFunc(types, func(typ wire.Type) bool { return strings.HasPrefix(name, string(typ)+".") }) {
			seedFiles(f, name, func(raw []byte) { f.Add(raw) })
		}
	}
}

func seedFiles(f *testing.F, pattern string, add func(raw []byte)) {
	f.Helper()
	files, err := filepath.Glob(goldenPath(pattern))
	if err != nil || len(files) == 0 {
		f.Fatalf("no golden file is called %s: %v", pattern, err)
	}
	for _, name := range files {
		raw, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		add(raw)
	}
}

func FuzzEnvelope(f *testing.F) {
	seedFrames(f, wire.Types()...)
	for _, s := range []string{"", "{}", "[]", `{"type":""}`, `{"type":"drain"}`, `{"type":"drain","payload":null}`, `{"type":"no.such","payload":{"a":[{}]}}`, "\xff"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		first, err := wire.Decode(frame)
		if err != nil {
			return
		}
		raw, err := json.Marshal(first)
		if err != nil {
			t.Fatalf("a decoded envelope does not encode: %v", err)
		}
		if len(raw) > wire.MaxFrame {
			return // escaping has made it longer than what may be sent
		}
		second, err := wire.Decode(raw)
		if err != nil {
			t.Fatalf("an encoded envelope does not decode: %v", err)
		}
		if first.Type != second.Type || first.ID != second.ID {
			t.Errorf("envelope %q %q came back as %q %q", first.Type, first.ID, second.Type, second.ID)
		}
		_, openErr := first.Open()
		if known := wire.New(first.Type) != nil; known == errors.Is(openErr, wire.ErrUnknownType) {
			t.Errorf("type %q is known: %v, and opening it gives %v", first.Type, known, openErr)
		}
	})
}

// fuzzFrame is the property of every message.
func fuzzFrame(t *testing.T, frame []byte) wire.Message {
	envelope, err := wire.Decode(frame)
	if err != nil {
		return nil
	}
	return fuzzOpen(t, envelope)
}

func fuzzOpen(t *testing.T, envelope wire.Envelope) wire.Message {
	t.Helper()
	first, err := envelope.Open()
	if err != nil {
		return nil
	}
	raw, err := wire.Encode(envelope.ID, first)
	if err != nil {
		if strings.Contains(err.Error(), "over the limit") {
			return first // escaping has made it longer than what may be sent
		}
		t.Fatalf("a valid %s does not encode: %v", envelope.Type, err)
	}
	again, err := wire.Decode(raw)
	if err != nil {
		t.Fatalf("an encoded %s does not decode: %v", envelope.Type, err)
	}
	second, err := again.Open()
	if err != nil {
		t.Fatalf("an encoded %s is not valid: %v", envelope.Type, err)
	}
	same(t, first, second)
	return first
}

// FuzzMessages fuzzes the payload of every type.
func FuzzMessages(f *testing.F) {
	add := func(raw []byte) {
		envelope, err := wire.Decode(raw)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(slices.Index(wire.Types(), envelope.Type)), []byte(envelope.Payload))
	}
	for _, typ := range wire.Types() {
		seedFiles(f, string(typ), add)
	}
	for name := range sampleVariants(f) {
		seedFiles(f, name, add)
	}
	f.Fuzz(func(t *testing.T, which uint8, payload []byte) {
		types := wire.Types()
		fuzzOpen(t, wire.Envelope{Type: types[int(which)%len(types)], Payload: payload})
	})
}

func FuzzHello(f *testing.F) {
	seedFiles(f, "document.hello-body", func(raw []byte) { f.Add(string(raw)) })
	f.Fuzz(func(t *testing.T, body string) {
		claimed, err := (&wire.Hello{Body: body}).Claimed()
		if err != nil {
			return
		}
		hello, err := wire.SignHello(machineKey, claimed)
		if err != nil {
			t.Fatalf("a valid body is not signed: %v", err)
		}
		if err := hello.Verify(sampleIdentity.SigningKey); err != nil {
			t.Fatal(err)
		}
		again, err := hello.Claimed()
		if err != nil {
			t.Fatalf("a signed body is not valid: %v", err)
		}
		same(t, claimed, again)
	})
}

func FuzzSetOffer(f *testing.F) {
	seedFrames(f, wire.TypeScheduleSet)
	f.Fuzz(func(t *testing.T, frame []byte) {
		offer, ok := fuzzFrame(t, frame).(*wire.SetOffer)
		if !ok {
			return
		}
		if set, err := wire.ParseScheduleSet(offer.Bundle); err == nil {
			fuzzDocument(t, set, wire.ParseScheduleSet)
		}
	})
}

func FuzzCommand(f *testing.F) {
	seedFrames(f, wire.TypeCommandRun, wire.TypeCommandCancel)
	f.Fuzz(func(t *testing.T, frame []byte) {
		switch m := fuzzFrame(t, frame).(type) {
		case *wire.CommandRun:
			if command, err := wire.ParseJobCommand(m.Command); err == nil {
				fuzzDocument(t, command, wire.ParseJobCommand)
			}
		case *wire.CommandCancel:
			if cancel, err := wire.ParseJobCancel(m.Cancel); err == nil {
				fuzzDocument(t, cancel, wire.ParseJobCancel)
			}
		}
	})
}

func FuzzFinished(f *testing.F) {
	seedFrames(f, wire.TypeJobFinished, wire.TypeRepoState, wire.TypeRepoStats)
	f.Fuzz(func(t *testing.T, frame []byte) {
		report, ok := fuzzFrame(t, frame).(wire.Report)
		if !ok {
			return
		}
		id := report.ID()
		id.Seq++
		report.SetID(id)
		if report.ID() != id {
			t.Errorf("report %s took the id %s", report.ID(), id)
		}
	})
}

func FuzzToken(f *testing.F) {
	seedFiles(f, "token", func(raw []byte) { f.Add(raw, "") })
	word, err := sampleToken().Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte("{}"), word)
	f.Fuzz(func(t *testing.T, content []byte, pasted string) {
		// The content gets a right checksum, so that the fuzzer sees what lies behind it.
		body := base64.RawURLEncoding.EncodeToString(content)
		checksum := sha256.Sum256([]byte(body))
		for _, s := range []string{pasted, wire.TokenPrefix + body + "." + hex.EncodeToString(checksum[:4])} {
			first, err := wire.ParseToken(s)
			if err != nil {
				continue
			}
			again, err := first.Encode()
			if err != nil {
				t.Fatalf("a valid token does not encode: %v", err)
			}
			second, err := wire.ParseToken(again)
			if err != nil {
				t.Fatalf("an encoded token does not parse: %v", err)
			}
			same(t, first, second)
		}
	})
}

// fuzzDocument is the property of every signed document.
func fuzzDocument[T interface{ Validate() error }](t *testing.T, first T, parse func(string) (T, error)) {
	t.Helper()
	raw, err := wire.EncodeDocument(first)
	if err != nil {
		if strings.Contains(err.Error(), "over the limit") {
			return // escaping has made it longer than what may be signed
		}
		t.Fatalf("a valid document does not encode: %v", err)
	}
	second, err := parse(raw)
	if err != nil {
		t.Fatalf("an encoded document does not parse: %v", err)
	}
	same(t, first, second)
}

// FuzzDocuments fuzzes everything that is signed or sent outside a frame.
func FuzzDocuments(f *testing.F) {
	seedFiles(f, "document.*", func(raw []byte) { f.Add(string(raw)) })
	seedFiles(f, "http.*", func(raw []byte) { f.Add(string(raw)) })
	f.Fuzz(func(t *testing.T, raw string) {
		tryDocument(t, raw, wire.ParseScheduleSet)
		tryDocument(t, raw, wire.ParseJobCommand)
		tryDocument(t, raw, wire.ParseJobCancel)
		tryDocument(t, raw, wire.ParseEnrolVerdict)
		tryDocument(t, raw, wire.ParseHostQuery)
		tryDocument(t, raw, parseAs[wire.EnrolRequest])
		tryDocument(t, raw, parseAs[wire.EnrolResponse])
	})
}

func tryDocument[T interface{ Validate() error }](t *testing.T, raw string, parse func(string) (T, error)) {
	t.Helper()
	if first, err := parse(raw); err == nil {
		fuzzDocument(t, first, parse)
	}
}

func parseAs[T any, P interface {
	*T
	Validate() error
}](raw string) (P, error) {
	v := P(new(T))
	if err := json.Unmarshal([]byte(raw), v); err != nil {
		return nil, err
	}
	return v, v.Validate()
}
