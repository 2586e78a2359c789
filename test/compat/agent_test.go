package compat

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"log/slog"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/restic-manager/restic-manager/agent/desired"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/api/wire/seal"
)

// records are those of all versions that were kept.
func records(t *testing.T) []*Record {
	t.Helper()
	folders, err := filepath.Glob("wire/v*")
	if err != nil || len(folders) == 0 {
		t.Fatalf("there are no records, %v", err)
	}
	var all []*Record
	for _, folder := range folders {
		r, err := Read(folder)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	return all
}

func forEach(t *testing.T, test func(*testing.T, *Record)) {
	for _, r := range records(t) {
		t.Run(r.Version, func(t *testing.T) { test(t, r) })
	}
}

// extended adds what no version knows to every object in a frame.
func extended(t *testing.T, text string) string {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		t.Fatal(err)
	}
	var extend func(any)
	extend = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for _, inner := range v {
				extend(inner)
			}
			v["fromTheFuture"] = map[string]any{"list": []any{1, "two"}}
		case []any:
			for _, inner := range v {
				extend(inner)
			}
		}
	}
	extend(value)
	raw, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func open(t *testing.T, frame string) wire.Message {
	t.Helper()
	envelope, err := wire.Decode([]byte(frame))
	if err != nil {
		t.Fatal(err)
	}
	message, err := envelope.Open()
	if err != nil {
		t.Fatalf("%s: %v", envelope.Type, err)
	}
	return message
}

func TestTodaysProgramsReadWhatEarlierOnesSaid(t *testing.T) {
	forEach(t, func(t *testing.T, r *Record) {
		seen := map[string]int{}
		for _, from := range []string{Agent, Gateway} {
			for _, line := range r.Frames(from) {
				seen[line.Type()]++
				message := open(t, line.Text)
				// credential fields and the like are maps, in which a key of the future is a key.
				if later := open(t, extended(t, line.Text)); !reflect.DeepEqual(message, later) {
					t.Errorf("%s is read otherwise with fields of the future", line.Type())
				}
			}
		}
		for _, kind := range []string{"challenge", "hello", "welcome", "schedule.set", "schedule.ack", "schedule.fire", "fire.verdict", "job.started", "job.finished", "report.ack",
			"command.run", "command.ack", "repo.state", "stream.open"} {
			if seen[kind] == 0 {
				t.Errorf("the record holds no %s: %v", kind, seen)
			}
		}
		envelope, err := wire.Decode([]byte(`{"type":"thing.of.the.future","payload":{"a":[1]}}`))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := envelope.Open(); !errors.Is(err, wire.ErrUnknownType) {
			t.Errorf("an unknown type is %v", err)
		}
	})
}

// noVault keeps nothing.
type noVault struct{}

func (noVault) Put(string, map[string]wire.Credential) error { return nil }
func (noVault) Clear() error                                 { return nil }

type fixed time.Time

func (f fixed) Now() time.Time { return time.Time(f) }

func controllersKey(t *testing.T, r *Record) ed25519.PrivateKey {
	t.Helper()
	block, _ := pem.Decode([]byte(r.Keys.Controllers))
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return key.(ed25519.PrivateKey)
}

func identityOf(t *testing.T, r *Record) wire.Identity {
	t.Helper()
	sealing, err := seal.SealingPublicKey(r.Keys.SealingKey)
	if err != nil {
		t.Fatal(err)
	}
	return wire.Identity{SigningKey: ed25519.NewKeyFromSeed(r.Keys.SigningSeed).Public().(ed25519.PublicKey), SealingKey: sealing}
}

func store(t *testing.T, r *Record, now time.Time) *desired.Store {
	t.Helper()
	signer, err := seal.NewSigner(controllersKey(t, r))
	if err != nil {
		t.Fatal(err)
	}
	identity := identityOf(t, r)
	s, err := desired.Open(desired.Config{
		Dir: t.TempDir(), Host: wire.HostRef{Namespace: Namespace, Name: Host}, IdentityHash: identity.Hash(), SealingKey: r.Keys.SealingKey,
		SigningKeys: signer.PublicKeys(), SerialFloor: r.Keys.SerialFloor, Vault: noVault{}, Clock: fixed(now), Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func first[T wire.Message](t *testing.T, r *Record, kind string) T {
	t.Helper()
	frames := r.Frames(Gateway, kind)
	if len(frames) == 0 {
		t.Fatalf("the record holds no %s", kind)
	}
	message, ok := open(t, frames[0].Text).(T)
	if !ok {
		t.Fatalf("%s is another message", kind)
	}
	return message
}

func TestTodaysAgentObeysWhatEarlierControllersSigned(t *testing.T) {
	forEach(t, func(t *testing.T, r *Record) {
		offer, run := first[*wire.SetOffer](t, r, "schedule.set"), first[*wire.CommandRun](t, r, "command.run")
		command, err := wire.ParseJobCommand(run.Command)
		if err != nil {
			t.Fatal(err)
		}
		s := store(t, r, command.NotAfter.Add(-time.Minute))
		if ack := s.Offer(*offer); !ack.Applied {
			t.Errorf("the set is refused: %s %s", ack.Reason, ack.Message)
		}
		if _, err := s.VerifyCommand(*run); err != nil {
			t.Errorf("the command is refused: %v", err)
		}

		// Later controllers say more in the same documents.
		signer, err := seal.NewSigner(controllersKey(t, r))
		if err != nil {
			t.Fatal(err)
		}
		later := *offer
		later.Bundle = extended(t, offer.Bundle)
		later.Signatures = signer.Sign(later.Bundle)
		if ack := store(t, r, time.Now()).Offer(later); !ack.Applied {
			t.Errorf("a set with fields of the future is refused: %s %s", ack.Reason, ack.Message)
		}
		more := *run
		more.Command = extended(t, run.Command)
		more.Signatures = signer.Sign(more.Command)
		if _, err := s.VerifyCommand(more); err != nil {
			t.Errorf("a command with fields of the future is refused: %v", err)
		}
	})
}

func TestTodaysAgentBelievesTheVerdictOfEarlierControllers(t *testing.T) {
	forEach(t, func(t *testing.T, r *Record) {
		var last string
		for _, l := range r.Lines {
			if l.From == Gateway && l.Path == wire.EnrolPath && l.Status == 200 {
				last = l.Text
			}
		}
		var response wire.EnrolResponse
		if err := json.NewDecoder(bytes.NewReader([]byte(extended(t, last)))).Decode(&response); err != nil {
			t.Fatal(err)
		}
		signer, err := seal.NewSigner(controllersKey(t, r))
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(response.Validate(), seal.Verify(response.Verdict, response.Signatures, signer.PublicKeys())); err != nil {
			t.Fatal(err)
		}
		verdict, err := wire.ParseEnrolVerdict(response.Verdict)
		identity := identityOf(t, r)
		if err != nil || !verdict.Approved || verdict.IdentityHash != identity.Hash() {
			t.Errorf("the verdict is %+v, %v", verdict, err)
		}
	})
}
