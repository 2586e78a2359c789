package enrol

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/restic-manager/restic-manager/agentgateway/internal/testagent"
	"github.com/restic-manager/restic-manager/agentgateway/report"
	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/test/env"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func TestMain(m *testing.M) { os.Exit(env.Main(m)) }

var start = time.Date(2026, 3, 29, 12, 0, 0, 0, time.UTC)

type meter struct{ writes int }

func (m *meter) Wrote(string)        { m.writes++ }
func (*meter) Reconnected()          {}
func (*meter) Enrolment(string)      {}
func (*meter) Reported(string)       {}
func (*meter) Delayed(time.Duration) {}

type fixture struct {
	t       *testing.T
	client  client.Client
	clock   *clocktesting.FakeClock
	meter   *meter
	logs    *bytes.Buffer
	handler *Handler
	host    *v1alpha1.Host
	machine *testagent.Machine
	secret  []byte
	// remote is where requests come from.
	remote string
}

func newFixture(t *testing.T, change func(*Options)) *fixture {
	t.Helper()
	cp := env.Shared(t)
	kinds := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{scheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(kinds); err != nil {
			t.Fatal(err)
		}
	}
	c, err := client.New(cp.RESTConfig(), client.Options{Scheme: kinds})
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{t: t, client: c, clock: clocktesting.NewFakeClock(start), meter: &meter{}, logs: &bytes.Buffer{},
		secret: bytes.Repeat([]byte{7}, wire.TokenSecretSize), remote: "192.0.2.1:1234"}
	logger := slog.New(slog.NewTextHandler(f.logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	events := report.NewWriter(report.Options{Client: c, Live: c, Cache: c, Gateway: "gw-1", Clock: f.clock, Meter: f.meter, Logger: logger})
	o := Options{Client: c, Live: c, Events: events, Clock: f.clock, Meter: f.meter, Logger: logger}
	if change != nil {
		change(&o)
	}
	f.handler = New(o)
	f.host = &v1alpha1.Host{ObjectMeta: metav1.ObjectMeta{Namespace: cp.NewNamespace(t, "enrol"), Name: "web-1"}}
	f.host.Spec.Repository = v1alpha1.Repository{URL: "rest:https://backup.example.com/web-1", CredentialsSecretRef: &v1alpha1.LocalReference{Name: "repo"}}
	if err := c.Create(t.Context(), f.host); err != nil {
		t.Fatal(err)
	}
	f.machine = testagent.NewMachine(t, "", nil, wire.HostRef{Namespace: f.host.Namespace, Name: "web-1"})
	f.status(func(s *v1alpha1.HostStatus) {
		s.Enrollment = &v1alpha1.EnrollmentStatus{TokenIDHash: wire.TokenIDHash("token-1"), ExpiresAt: &metav1.Time{Time: start.Add(time.Hour)}}
	})
	return f
}

// status does what the controllers do.
func (f *fixture) status(change func(*v1alpha1.HostStatus)) {
	f.t.Helper()
	h := f.get()
	change(&h.Status)
	if err := f.client.Status().Update(f.t.Context(), h); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) get() *v1alpha1.Host {
	f.t.Helper()
	var h v1alpha1.Host
	if err := f.client.Get(f.t.Context(), client.ObjectKeyFromObject(f.host), &h); err != nil {
		f.t.Fatal(err)
	}
	return &h
}

func (f *fixture) request(change func(*wire.EnrolRequest)) *wire.EnrolRequest {
	r := &wire.EnrolRequest{Host: f.machine.Host, HostUID: string(f.host.UID), TokenID: "token-1", Identity: f.machine.Identity,
		AgentVersion: "v1", System: wire.System{Hostname: "web-1.example.com"}}
	if change != nil {
		change(r)
	}
	r.Proof = wire.EnrolProof(f.secret, r.HostUID, r.TokenID, r.Identity)
	return r
}

// post returns the status and whichever body belongs to it.
func (f *fixture) post(body any) (int, *wire.EnrolResponse, *wire.Error) {
	f.t.Helper()
	raw, ok := body.([]byte)
	if !ok {
		var err error
		if raw, err = json.Marshal(body); err != nil {
			f.t.Fatal(err)
		}
	}
	recorder := httptest.NewRecorder()
	request := httptest.NewRequestWithContext(f.t.Context(), http.MethodPost, wire.EnrolPath, bytes.NewReader(raw))
	request.RemoteAddr = f.remote
	f.handler.ServeHTTP(recorder, request)
	if recorder.Code >= 300 {
		var e wire.Error
		if err := json.Unmarshal(recorder.Body.Bytes(), &e); err != nil || e.Validate() != nil {
			f.t.Fatalf("HTTP %d with body %q", recorder.Code, recorder.Body)
		}
		return recorder.Code, nil, &e
	}
	var r wire.EnrolResponse
	if err := json.Unmarshal(recorder.Body.Bytes(), &r); err != nil || r.Validate() != nil {
		f.t.Fatalf("HTTP %d with body %q", recorder.Code, recorder.Body)
	}
	return recorder.Code, &r, nil
}

func (f *fixture) events() []eventsv1.Event {
	f.t.Helper()
	var list eventsv1.EventList
	if err := f.client.List(f.t.Context(), &list, client.InNamespace(f.host.Namespace)); err != nil {
		f.t.Fatal(err)
	}
	return list.Items
}

func (f *fixture) verdict(tokenID string, identity wire.Identity, approved bool) *v1alpha1.SignedDocument {
	f.t.Helper()
	v := &wire.EnrolVerdict{Label: wire.EnrolVerdictLabel, Host: f.machine.Host, HostUID: string(f.host.UID), TokenIDHash: wire.TokenIDHash(tokenID),
		IdentityHash: identity.Hash(), Approved: approved, Reason: wire.EnrolApproved, Message: "welcome", Time: start}
	text, err := wire.EncodeDocument(v)
	if err != nil {
		f.t.Fatal(err)
	}
	return &v1alpha1.SignedDocument{Document: text, Signatures: []v1alpha1.Signature{{KeyID: "k1", Value: base64.StdEncoding.EncodeToString(make([]byte, 64))}}}
}

func (f *fixture) refusal(tokenID string, identity wire.Identity) *v1alpha1.SignedDocument {
	f.t.Helper()
	text, err := wire.EncodeDocument(&wire.EnrolVerdict{Label: wire.EnrolVerdictLabel, Host: f.machine.Host, HostUID: string(f.host.UID),
		TokenIDHash: wire.TokenIDHash(tokenID), IdentityHash: identity.Hash(), Reason: wire.EnrolWrongProof, Message: "wrong", Time: start})
	if err != nil {
		f.t.Fatal(err)
	}
	return &v1alpha1.SignedDocument{Document: text, Signatures: []v1alpha1.Signature{{KeyID: "k1", Value: base64.StdEncoding.EncodeToString(make([]byte, 64))}}}
}

func TestAMachineEnrols(t *testing.T) {
	f := newFixture(t, nil)
	status, answer, _ := f.post(f.request(nil))
	if status != http.StatusAccepted || answer.RetryAfterSeconds != 1 || answer.Verdict != "" {
		t.Fatalf("HTTP %d %+v", status, answer)
	}
	got := f.get().Status.EnrollmentRequest
	signing, sealing := f.machine.Base64Keys()
	if got == nil || got.TokenIDHash != wire.TokenIDHash("token-1") || got.SigningKey != signing || got.SealingKey != sealing ||
		got.Hostname != "web-1.example.com" || got.Proof != base64.StdEncoding.EncodeToString(f.request(nil).Proof) || !got.ReceivedAt.Time.Equal(start) {
		t.Fatalf("recorded %+v", got)
	}
	f.clock.Step(time.Second)
	if status, _, _ := f.post(f.request(nil)); status != http.StatusAccepted || f.meter.writes != 1 {
		t.Errorf("asking again: HTTP %d, %d writes", status, f.meter.writes)
	}

	// The controllers pin the keys, which voids the token, and sign the verdict a moment later.
	h := f.get()
	h.Spec.Identity = &v1alpha1.HostIdentity{SigningKey: signing, SealingKey: sealing}
	if err := f.client.Update(t.Context(), h); err != nil {
		t.Fatal(err)
	}
	f.status(func(s *v1alpha1.HostStatus) {
		s.Enrollment.TokenIDHash, s.Enrollment.UsedTokenIDHash = "", wire.TokenIDHash("token-1")
	})
	if status, _, _ := f.post(f.request(nil)); status != http.StatusAccepted {
		t.Errorf("between the pinning and the verdict: HTTP %d", status)
	}
	f.status(func(s *v1alpha1.HostStatus) { s.Enrollment.Verdict = f.verdict("token-1", f.machine.Identity, true) })
	for range 2 { // a verdict that was lost is given again
		status, answer, _ := f.post(f.request(nil))
		if status != http.StatusOK || answer.Verdict != f.get().Status.Enrollment.Verdict.Document || len(answer.Signatures) != 1 {
			t.Fatalf("HTTP %d %+v", status, answer)
		}
	}
	if events := f.events(); len(events) != 0 {
		t.Errorf("events are %v", events)
	}
}

func TestARightProofAfterAWrongOneIsAsked(t *testing.T) {
	f := newFixture(t, nil)
	right := f.request(nil)
	wrong := *right
	wrong.Proof = bytes.Repeat([]byte{1}, len(right.Proof))
	if status, _, _ := f.post(&wrong); status != http.StatusAccepted {
		t.Fatalf("the wrong proof: HTTP %d", status)
	}
	f.status(func(s *v1alpha1.HostStatus) {
		s.Enrollment.Verdict = f.refusal("token-1", f.machine.Identity)
	})
	if status, answer, _ := f.post(&wrong); status != http.StatusOK || answer.Verdict == "" {
		t.Errorf("the wrong proof again: HTTP %d %+v, want its refusal", status, answer)
	}
	if status, _, _ := f.post(right); status != http.StatusAccepted {
		t.Errorf("the right proof with the same keys: HTTP %d", status)
	}
	if got := f.get().Status.EnrollmentRequest.Proof; got != base64.StdEncoding.EncodeToString(right.Proof) {
		t.Errorf("recorded proof %s is not the right one", got)
	}
}

func TestWrongTokens(t *testing.T) {
	stranger := testagent.NewMachine(t, "", nil, wire.HostRef{}).Identity
	for _, c := range []struct {
		name    string
		status  func(*fixture, *v1alpha1.HostStatus)
		request func(*wire.EnrolRequest)
		later   time.Duration
		http    int
		code    wire.Code
		noEvent bool
	}{
		{name: "of another id", request: func(r *wire.EnrolRequest) { r.TokenID = "token-2" }, http: 403, code: wire.CodeTokenUnknown},
		{name: "for a Host with another UID", request: func(r *wire.EnrolRequest) { r.HostUID = "other" }, http: 403, code: wire.CodeTokenUnknown},
		{name: "for a Host that does not exist", request: func(r *wire.EnrolRequest) { r.Host.Name = "nobody" }, http: 403,
			code: wire.CodeTokenUnknown, noEvent: true},
		{name: "for a name that no Host can have", request: func(r *wire.EnrolRequest) { r.Host.Name = "../secrets/x" }, http: 403,
			code: wire.CodeTokenUnknown, noEvent: true},
		{name: "where none is open", status: func(_ *fixture, s *v1alpha1.HostStatus) { s.Enrollment = nil }, http: 403, code: wire.CodeTokenUnknown},
		{name: "that is empty in the status too", status: func(_ *fixture, s *v1alpha1.HostStatus) { s.Enrollment.TokenIDHash = "" }, http: 403,
			code: wire.CodeTokenUnknown},
		{name: "that has expired", later: time.Hour, http: 410, code: wire.CodeTokenExpired},
		{name: "that enrolled other keys", http: 409, code: wire.CodeTokenUsed, status: func(f *fixture, s *v1alpha1.HostStatus) {
			s.Enrollment = &v1alpha1.EnrollmentStatus{UsedTokenIDHash: wire.TokenIDHash("token-1"), Verdict: f.verdict("token-1", stranger, true)}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t, nil)
			if c.status != nil {
				f.status(func(s *v1alpha1.HostStatus) { c.status(f, s) })
			}
			f.clock.Step(c.later)
			for range 2 {
				status, _, e := f.post(f.request(c.request))
				if status != c.http || e == nil || e.Code != c.code || e.Message == "" {
					t.Fatalf("HTTP %d %+v, want %d %s", status, e, c.http, c.code)
				}
			}
			if got := f.get().Status.EnrollmentRequest; got != nil {
				t.Errorf("recorded %+v", got)
			}
			events := f.events()
			if c.noEvent {
				if len(events) != 0 {
					t.Errorf("events are %v", events)
				}
				return
			}
			if len(events) != 1 || events[0].Reason != v1alpha1.EventEnrolmentRefused || events[0].Type != "Warning" ||
				!strings.Contains(events[0].Note, "192.0.2.1") {
				t.Fatalf("events are %+v, want one", events)
			}
			for what, text := range map[string]string{"event": fmt.Sprintf("%+v", events[0]), "log": f.logs.String()} {
				if strings.Contains(text, "token-1") || strings.Contains(text, "token-2") {
					t.Errorf("the token's id is in the %s: %s", what, text)
				}
			}
		})
	}
}

func TestStrangersLearnNothing(t *testing.T) {
	f := newFixture(t, nil)
	var answers []wire.Error
	for _, change := range []func(*wire.EnrolRequest){
		func(r *wire.EnrolRequest) { r.TokenID = "x" },
		func(r *wire.EnrolRequest) { r.HostUID = "x" },
		func(r *wire.EnrolRequest) { r.Host.Name = "x" },
		func(r *wire.EnrolRequest) { r.Host.Namespace = "X/y" },
	} {
		_, _, e := f.post(f.request(change))
		answers = append(answers, *e)
	}
	for _, a := range answers[1:] {
		if a != answers[0] {
			t.Errorf("answers differ: %+v and %+v", a, answers[0])
		}
	}
}

func TestRequestsThatAreNone(t *testing.T) {
	f := newFixture(t, nil)
	for name, body := range map[string][]byte{
		"no JSON":  []byte("hello"),
		"no proof": []byte(`{"host":{"namespace":"a","name":"b"},"hostUID":"u","tokenID":"t"}`),
		"huge":     []byte(`{"tokenID":"` + strings.Repeat("x", maxBody) + `"}`),
	} {
		t.Run(name, func(t *testing.T) {
			if status, _, e := f.post(body); status != http.StatusBadRequest || e.Code != wire.CodeBadMessage {
				t.Errorf("HTTP %d %+v", status, e)
			}
		})
	}
}

func TestRequestsAreLimited(t *testing.T) {
	for name, change := range map[string]func(*Options){
		"per remote address": func(o *Options) { o.RemoteRate, o.RemoteBurst = 1, 3 },
		"per host":           func(o *Options) { o.HostRate, o.HostBurst = 1, 3 },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, change)
			for range 3 {
				if status, _, _ := f.post(f.request(nil)); status != http.StatusAccepted {
					t.Fatalf("HTTP %d", status)
				}
			}
			status, _, e := f.post(f.request(nil))
			if status != http.StatusTooManyRequests || e.RetryAfterSeconds == 0 {
				t.Errorf("HTTP %d %+v", status, e)
			}
			f.clock.Step(time.Second)
			if status, _, _ := f.post(f.request(nil)); status != http.StatusAccepted {
				t.Errorf("a second later: HTTP %d", status)
			}
		})
	}
}

func TestAStrangerDoesNotSpendTheRequestsOfAMachine(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.HostRate, o.HostBurst = 1, 2 })
	stranger := f.request(func(r *wire.EnrolRequest) { r.TokenID = "guessed" })
	for i, want := range []int{http.StatusForbidden, http.StatusForbidden, http.StatusTooManyRequests} {
		if status, _, _ := f.post(stranger); status != want {
			t.Errorf("request %d of the stranger: HTTP %d, want %d", i+1, status, want)
		}
	}
	for i, remote := range []string{"192.0.2.7:1", "192.0.2.7:2", "192.0.2.8:1"} {
		f.remote = remote
		want := http.StatusAccepted
		if i == 2 {
			want = http.StatusTooManyRequests // who shows the token has one allowance, from wherever
		}
		if status, _, _ := f.post(f.request(nil)); status != want {
			t.Errorf("request %d of the machine: HTTP %d, want %d", i+1, status, want)
		}
	}
}

func TestARequestThatMeetsAChangeOfTheHostIsAskedAgain(t *testing.T) {
	f := newFixture(t, nil)
	h := f.get()
	f.status(func(s *v1alpha1.HostStatus) { s.LastReport = &v1alpha1.ReportPosition{Epoch: "e", Seq: 1} })
	if err := f.handler.record(context.Background(), h, wire.TokenIDHash("token-1"), f.request(nil)); err != nil {
		t.Errorf("a conflict is answered with %v", err)
	}
	if f.get().Status.EnrollmentRequest != nil {
		t.Error("the stale read was written")
	}
}
