package report

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/test/env"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func TestTheDifferenceOfTwoStatuses(t *testing.T) {
	for _, test := range []struct{ name, before, after, want string }{
		{"a field more", `{}`, `{"appliedRevision":"r1"}`, `{"appliedRevision":"r1"}`},
		{"one less", `{"appliedRevision":"r1","refusal":{"reason":"x"}}`, `{"appliedRevision":"r1"}`, `{"refusal":null}`},
		{"a part of one", `{"connection":{"session":1,"gateway":"a"}}`, `{"connection":{"session":2,"gateway":"a"}}`, `{"connection":{"session":2}}`},
		{"a list", `{"notAllowed":[{"what":"a"},{"what":"b"}]}`, `{"notAllowed":[{"what":"a"}]}`, `{"notAllowed":[{"what":"a"}]}`},
		{"a serial, in microseconds", `{"appliedSerial":1}`, `{"appliedSerial":1796000000000001}`, `{"appliedSerial":1796000000000001}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := difference("7", []byte(test.before), []byte(test.after))
			if err != nil {
				t.Fatal(err)
			}
			if want := `{"metadata":{"resourceVersion":"7"},"status":` + test.want + `}`; string(got) != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
	if got, err := difference("", []byte(`{}`), []byte(`{"appliedRevision":"r1"}`)); err == nil {
		t.Errorf("a write that could never be a conflict: %s", got)
	}
}

// patches keeps the patches that were sent, and the replies.
type patches struct {
	http.RoundTripper
	sent, replies []string
}

func (p *patches) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method != http.MethodPatch {
		return p.RoundTripper.RoundTrip(r)
	}
	sent, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	r = r.Clone(r.Context())
	r.Body = io.NopCloser(bytes.NewReader(sent))
	response, err := p.RoundTripper.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	reply, err := io.ReadAll(response.Body)
	response.Body = io.NopCloser(bytes.NewReader(reply))
	p.sent, p.replies = append(p.sent, string(sent)), append(p.replies, string(reply))
	return response, err
}

// watched is a Writer whose patches are kept.
func (f *fixture) watched() (*Writer, *patches) {
	f.t.Helper()
	p := &patches{}
	config := env.Shared(f.t).RESTConfig()
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { p.RoundTripper = next; return p })
	c, err := client.New(config, client.Options{Scheme: f.scheme})
	if err != nil {
		f.t.Fatal(err)
	}
	return NewWriter(Options{Client: c, Live: f.client, Cache: slimmed{f.client}, Gateway: "gw-1", Clock: f.clock, Meter: f.meter, Logger: f.o.Logger}), p
}

func TestOnlyWhatChangedInTheStatusIsSentAndNoWholeObjectComesBack(t *testing.T) {
	f := newFixture(t)
	set := f.set()
	set.Spec.Bundle = strings.Repeat("bundle ", 1000)
	if err := f.client.Update(t.Context(), set); err != nil {
		t.Fatal(err)
	}
	w, p := f.watched()
	if _, err := w.Connect(t.Context(), f.newcomer(1, "p1")); err != nil {
		t.Fatal(err)
	}
	s := f.session(1, "p1")
	version := f.set().ResourceVersion
	if err := w.SetAcked(t.Context(), s, &wire.SetAck{Revision: "r1", Applied: true}); err != nil {
		t.Fatal(err)
	}
	if len(p.sent) != 2 {
		t.Fatalf("sent are %q", p.sent)
	}
	want := `{"metadata":{"resourceVersion":"` + version + `"},"status":{"appliedRevision":"r1","appliedSerial":1,"appliedTime":"2026-03-29T12:00:00Z","offeredRevision":"r1"}}`
	if !json.Valid([]byte(p.sent[1])) || p.sent[1] != want {
		t.Errorf("sent is %s\nwant    %s", p.sent[1], want)
	}
	for _, reply := range p.replies {
		if strings.Contains(reply, "bundle bundle") {
			t.Errorf("the whole set comes back: %d bytes", len(reply))
		}
	}
	got := f.set()
	if got.Spec.Bundle != set.Spec.Bundle || got.Generation != set.Generation {
		t.Error("the spec was changed")
	}
	fields := map[string]bool{}
	for _, m := range got.ManagedFields {
		fields[m.Manager+" "+m.Subresource] = true
	}
	if !fields[v1alpha1.ManagerGateway+" status"] {
		t.Errorf("the fields are of %v", fields)
	}
	// The same again is no write.
	if err := w.SetAcked(t.Context(), s, &wire.SetAck{Revision: "r1", Applied: true}); err != nil || len(p.sent) != 2 {
		t.Errorf("%v, sent are %q", err, p.sent)
	}
}

func TestAWriteThatRestsOnAnOldVersionIsMadeAgain(t *testing.T) {
	f := newFixture(t)
	w, p := f.watched()
	old := f.set()
	s := f.connect(1, "p1")
	w.o.Cache = &reads{Reader: f.client, old: old} // as before the first connection
	_, err := patch(t.Context(), w, "schedulesets", old.DeepCopy(), func(set *v1alpha1.ScheduleSet) error {
		set.Status.AppliedRevision = "r0"
		return nil
	})
	if !apierrors.IsConflict(err) || !strings.Contains(err.Error(), "has been modified") {
		t.Errorf("an old version: %v", err)
	}
	s.Counter = 2
	if _, err := w.Connect(t.Context(), f.newcomer(2, "p1")); err != nil {
		t.Fatal(err)
	}
	if got := f.set().Status.Connection; got.Session != 2 || len(p.sent) != 3 {
		t.Errorf("the connection is %+v after %d patches, want 3", got, len(p.sent))
	}

	// What the API server never takes, and what is gone, are told apart from it.
	job := f.job("now", v1alpha1.JobPending)
	if _, err := patch(t.Context(), w, "hostjobs", job, func(job *v1alpha1.HostJob) error { job.Status.Phase = "Nonsense"; return nil }); !hopeless(err) {
		t.Errorf("an invalid status: %v", err)
	}
	if err := f.client.Delete(t.Context(), f.set()); err != nil {
		t.Fatal(err)
	}
	refusal(t, errorOf(w.Connect(t.Context(), f.newcomer(3, "p1"))), wire.CodeUnknownHost)
	if err := w.Disconnect(t.Context(), s, start); err != nil {
		t.Errorf("the end of a session whose set is gone: %v", err)
	}
}
