package wire_test

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/restic-manager/restic-manager/api/wire"
)

func TestFramesThatDoNotDecode(t *testing.T) {
	for name, c := range map[string]struct{ frame, want string }{
		"an empty frame":            {"", "not a message"},
		"a frame that is no JSON":   {"hello", "not a message"},
		"a frame that is a list":    {"[]", "not a message"},
		"a frame with a rest":       {`{"type":"heartbeat"} {}`, "not a message"},
		"a frame without a type":    {`{"payload":{}}`, "no type"},
		"a frame with a long type":  {`{"type":"` + long(wire.MaxName+1) + `"}`, "longer than 253 bytes"},
		"a frame with a long id":    {`{"type":"heartbeat","id":"` + long(wire.MaxName+1) + `"}`, "longer than 253 bytes"},
		"a frame over the limit":    {`{"type":"heartbeat","id":"` + long(wire.MaxFrame) + `"}`, "over the limit of 1048576"},
		"a frame nested too deeply": {strings.Repeat("[", 100_000), "not a message"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := wire.Decode([]byte(c.frame))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error is %v, want one that says %q", err, c.want)
			}
		})
	}
}

func TestANewerPeerIsUnderstood(t *testing.T) {
	envelope, err := wire.Decode([]byte(`{"type":"drain","id":"1","trace":"x","payload":{"spreadSeconds":30,"why":"upgrade"}}`))
	if err != nil {
		t.Fatal(err)
	}
	got, err := envelope.Open()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&wire.Drain{SpreadSeconds: 30}, got); diff != "" {
		t.Errorf("a frame with unknown fields (-want +got):\n%s", diff)
	}

	envelope, err = wire.Decode([]byte(`{"type":"from.the.future","payload":[1,2]}`))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := envelope.Open(); !errors.Is(err, wire.ErrUnknownType) {
		t.Errorf("error of an unknown type is %v, want ErrUnknownType", err)
	}
}

func TestAPayloadOfTheWrongShapeIsAnErrorThatNamesTheMessage(t *testing.T) {
	for _, typ := range wire.Types() {
		envelope := wire.Envelope{Type: typ, Payload: []byte(`["not an object"]`)}
		if _, err := envelope.Open(); err == nil || !strings.Contains(err.Error(), string(typ)) {
			t.Errorf("error of a %s that is a list is %v", typ, err)
		}
	}
}

func TestNoInvalidOrLargeMessageIsSent(t *testing.T) {
	if _, err := wire.Encode("1", &wire.Drain{SpreadSeconds: -1}); err == nil || !strings.Contains(err.Error(), "drain: spreadSeconds") {
		t.Errorf("error is %v, want one that names message and field", err)
	}
	offer := &wire.SetOffer{Revision: "r", Bundle: long(wire.MaxBundle)}
	for i := range wire.MaxCredentials {
		offer.Credentials = append(offer.Credentials, wire.SealedCredential{Name: fmt.Sprint(i), Sealed: make([]byte, wire.MaxSealed)})
	}
	if _, err := wire.Encode("1", offer); err == nil || !strings.Contains(err.Error(), "over the limit") {
		t.Errorf("error is %v, want one that names the limit", err)
	}
}

func TestALargeDocumentIsNeitherWrittenNorRead(t *testing.T) {
	set := sampleSet()
	set.Groups = nil
	set.Schedules = nil
	for i := range 2 {
		g := sampleGroup()
		g.Name = fmt.Sprint(i)
		g.Excludes = nil
		for range wire.MaxPaths {
			g.Excludes = append(g.Excludes, long(1000))
		}
		set.Groups = append(set.Groups, g)
	}
	if _, err := wire.EncodeDocument(set); err == nil || !strings.Contains(err.Error(), "over the limit of 524288") {
		t.Errorf("error is %v, want one that names the limit", err)
	}
	if _, err := wire.ParseScheduleSet(long(wire.MaxBundle + 1)); err == nil || !strings.Contains(err.Error(), "over the limit of 524288") {
		t.Errorf("error is %v, want one that names the limit", err)
	}
}

func TestNoDocumentIsTakenForAnother(t *testing.T) {
	parsers := map[string]func(string) error{
		wire.ScheduleSetLabel:  func(s string) error { _, err := wire.ParseScheduleSet(s); return err },
		wire.JobCommandLabel:   func(s string) error { _, err := wire.ParseJobCommand(s); return err },
		wire.JobCancelLabel:    func(s string) error { _, err := wire.ParseJobCancel(s); return err },
		wire.EnrolVerdictLabel: func(s string) error { _, err := wire.ParseEnrolVerdict(s); return err },
	}
	documents := map[string]string{
		wire.ScheduleSetLabel:  encodeDocument(t, sampleSet()),
		wire.JobCommandLabel:   encodeDocument(t, sampleCommand()),
		wire.JobCancelLabel:    encodeDocument(t, sampleCancel()),
		wire.EnrolVerdictLabel: encodeDocument(t, sampleVerdict()),
	}
	for label, parse := range parsers {
		for of, document := range documents {
			if err := parse(document); (err == nil) != (label == of) {
				t.Errorf("a %s read as %s: error is %v", of, label, err)
			}
		}
	}
}

func TestAHelloIsVerifiedWithTheMachinesKey(t *testing.T) {
	hello, err := wire.SignHello(machineKey, sampleHelloBody())
	if err != nil {
		t.Fatal(err)
	}
	if err := hello.Verify(sampleIdentity.SigningKey); err != nil {
		t.Error(err)
	}
	body, err := hello.Claimed()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(sampleHelloBody(), body); diff != "" {
		t.Errorf("body (-want +got):\n%s", diff)
	}
	for name, key := range map[string][]byte{
		"another key": controllersKey.Public().(ed25519.PublicKey), "a short key": sampleIdentity.SigningKey[:5], "no key": nil,
	} {
		if err := hello.Verify(key); !errors.Is(err, wire.ErrBadSignature) {
			t.Errorf("with %s the error is %v, want ErrBadSignature", name, err)
		}
	}
	tampered := *hello
	tampered.Body = strings.Replace(hello.Body, `"session":42`, `"session":43`, 1)
	if err := tampered.Verify(sampleIdentity.SigningKey); !errors.Is(err, wire.ErrBadSignature) {
		t.Errorf("a changed body gives %v, want ErrBadSignature", err)
	}
	invalid := sampleHelloBody()
	invalid.Session = 0
	if _, err := wire.SignHello(machineKey, invalid); err == nil || !strings.Contains(err.Error(), "session") {
		t.Errorf("signing an invalid body gives %v", err)
	}
}

func TestIdsOfJobs(t *testing.T) {
	id := sampleFireID()
	if id != wire.FireID(sampleHost, "nightly", "etc-and-home", sampleNominal) || !strings.HasPrefix(id, "fire-") {
		t.Errorf("the id of a fire is %s", id)
	}
	for what, other := range map[string]string{
		"host":     wire.FireID(wire.HostRef{Namespace: "shop", Name: "web-2"}, "nightly", "etc-and-home", sampleNominal),
		"schedule": wire.FireID(sampleHost, "weekly", "etc-and-home", sampleNominal),
		"group":    wire.FireID(sampleHost, "nightly", "var", sampleNominal),
		"time":     wire.FireID(sampleHost, "nightly", "etc-and-home", "2026-03-02T02:30"),
	} {
		if other == id {
			t.Errorf("another %s gives the same id", what)
		}
	}
	if got := wire.CommandID(sampleUID); got != "job-"+sampleUID {
		t.Errorf("the id of a command is %s", got)
	}
}
