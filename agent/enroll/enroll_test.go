package enroll

import (
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/restic-manager/restic-manager/agent/clock/clocktest"
	"github.com/restic-manager/restic-manager/api/tlspin"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/api/wire/seal"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// memory is a Store.
type memory struct {
	enrolled string
	unusable error
	failing  error
	saved    *Result
}

func (m *memory) Enrolled() string     { return m.enrolled }
func (m *memory) CheckWritable() error { return m.unusable }
func (m *memory) Save(r Result) error {
	if m.failing != nil {
		return m.failing
	}
	m.saved = &r
	return nil
}

// bench is a gateway with controllers behind it, and a token for it.
type bench struct {
	t        *testing.T
	server   *httptest.Server
	signer   *seal.Signer
	token    wire.Token
	store    *memory
	clock    *clocktest.Clock
	said     []string
	requests []wire.EnrolRequest
	pending  string
	// answer may replace what the gateway does.
	answer func(w http.ResponseWriter, request wire.EnrolRequest)
}

func newSigner(t *testing.T) *seal.Signer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := seal.NewSigner(key)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, signer: newSigner(t), store: &memory{}, clock: clocktest.New(now), pending: filepath.Join(t.TempDir(), "pending")}
	b.answer = func(w http.ResponseWriter, r wire.EnrolRequest) { b.verdict(w, b.approval(r)) }
	b.server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || r.URL.Path != wire.EnrolPath {
			t.Errorf("request is %s %s", r.Method, r.URL.Path)
		}
		var request wire.EnrolRequest
		raw, err := io.ReadAll(r.Body)
		if err != nil || json.Unmarshal(raw, &request) != nil || request.Validate() != nil {
			t.Errorf("request does not parse: %s", raw)
		}
		if strings.Contains(string(raw), string(b.token.Secret)) {
			t.Error("the secret travels")
		}
		b.requests = append(b.requests, request)
		w.Header().Set("Date", now.Format(http.TimeFormat))
		b.answer(w, request)
	}))
	b.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	b.server.StartTLS()
	t.Cleanup(b.server.Close)
	b.token = wire.Token{URL: b.server.URL, Host: wire.HostRef{Namespace: "shop", Name: "web-1"}, HostUID: "uid-1", ID: "token-1",
		Secret: []byte("0123456789abcdef0123456789abcdef"), NotAfter: now.Add(time.Hour), SigningKeys: b.signer.PublicKeys(),
		SerialFloor: 7, TLSPins: []string{tlspin.Pin(b.server.Certificate())}}
	return b
}

func (b *bench) approval(r wire.EnrolRequest) wire.EnrolVerdict {
	return wire.EnrolVerdict{Label: wire.EnrolVerdictLabel, Host: r.Host, HostUID: r.HostUID, TokenIDHash: wire.TokenIDHash(r.TokenID),
		IdentityHash: r.Identity.Hash(), Approved: true, Reason: wire.EnrolApproved, Time: now}
}

func (b *bench) verdict(w http.ResponseWriter, v wire.EnrolVerdict) { b.signed(w, v, b.signer) }

func (b *bench) signed(w http.ResponseWriter, v wire.EnrolVerdict, by *seal.Signer) {
	document, err := wire.EncodeDocument(&v)
	if err != nil {
		b.t.Error(err)
	}
	_ = json.NewEncoder(w).Encode(wire.EnrolResponse{Verdict: document, Signatures: by.Sign(document)})
}

func refuse(status int, e wire.Error) func(http.ResponseWriter, wire.EnrolRequest) {
	return func(w http.ResponseWriter, _ wire.EnrolRequest) {
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(e)
	}
}

func (b *bench) word() string {
	b.t.Helper()
	word, err := b.token.Encode()
	if err != nil {
		b.t.Fatal(err)
	}
	return word
}

func (b *bench) options() Options {
	return Options{Token: b.word(), Store: b.store, PendingPath: b.pending, AgentVersion: "v1", System: wire.System{OS: "linux"}, Clock: b.clock,
		Say: func(s string) { b.said = append(b.said, s) }}
}

// run lets every wait of the enrolment pass at once.
func (b *bench) run(o Options) (*Result, error) {
	stop := make(chan struct{})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		poll := time.NewTicker(time.Millisecond)
		defer poll.Stop()
		for {
			select {
			case <-stop:
				return
			case <-poll.C:
				if d, waits := b.clock.NextTimer(); waits {
					b.clock.Advance(d)
				}
			}
		}
	}()
	result, err := Run(context.Background(), o)
	close(stop)
	<-stopped
	if err != nil {
		for _, secret := range []string{b.word(), string(b.token.Secret)} {
			if strings.Contains(err.Error()+strings.Join(b.said, "\n"), secret) {
				b.t.Errorf("the token is shown: %v %v", err, b.said)
			}
		}
	}
	return result, err
}

func cause(err error) Cause {
	var f *Failure
	if errors.As(err, &f) {
		return f.Cause
	}
	return ""
}

func TestAMachineEnrols(t *testing.T) {
	b := newBench(t)
	patience := 3
	b.answer = func(w http.ResponseWriter, r wire.EnrolRequest) {
		if patience--; patience > 0 {
			w.WriteHeader(http.StatusAccepted)
			_, _ = w.Write([]byte(`{"retryAfterSeconds":1}`))
			return
		}
		b.verdict(w, b.approval(r))
	}
	o := b.options()
	o.Token = "\n " + o.Token + "\n"
	result, err := b.run(o)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(result, b.store.saved); diff != "" {
		t.Errorf("returned and saved differ:\n%s", diff)
	}
	identity, err := result.Keys.Identity()
	if err != nil {
		t.Fatal(err)
	}
	if result.Host != b.token.Host || result.HostUID != "uid-1" || result.SerialFloor != 7 || result.GatewayURL != b.server.URL || len(result.SigningKeys) != 1 {
		t.Errorf("result is %+v", result)
	}
	if len(b.requests) != 3 {
		t.Errorf("%d requests were made, want 3", len(b.requests))
	}
	for _, r := range b.requests {
		if !hmac.Equal(r.Proof, wire.EnrolProof(b.token.Secret, "uid-1", "token-1", identity)) || r.Identity.Hash() != identity.Hash() {
			t.Error("a request does not prove these keys")
		}
	}
	if _, err := os.Stat(b.pending); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the pending keys still lie there: %v", err)
	}
}

func TestATokenThatTheGatewayDoesNotKnowYetIsTriedAgain(t *testing.T) {
	b := newBench(t)
	b.answer = func(w http.ResponseWriter, r wire.EnrolRequest) {
		if len(b.requests) < 3 {
			refuse(403, wire.Error{Code: wire.CodeTokenUnknown, Message: "no"})(w, r)
			return
		}
		b.verdict(w, b.approval(r))
	}
	if _, err := b.run(b.options()); err != nil {
		t.Fatal(err)
	}
	if len(b.requests) != 3 {
		t.Errorf("%d requests were made, want 3", len(b.requests))
	}
}

func TestFailuresSayWhatToDo(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(b *bench, o *Options)
		want   Cause
		says   []string
		// asked: the gateway may have been asked.
		asked bool
	}{
		{"the token was cut", func(_ *bench, o *Options) { o.Token = o.Token[:len(o.Token)-9] }, CauseTokenDamaged, []string{"damaged", "copy the whole line"}, false},
		{"there is no token", func(_ *bench, o *Options) { o.Token = "" }, CauseTokenDamaged, []string{"copy the whole line"}, false},
		{"the token expired, and another one was minted since", func(b *bench, o *Options) {
			b.clock.Advance(2 * time.Hour)
			b.answer = refuse(403, wire.Error{Code: wire.CodeTokenUnknown, Message: "no"})
		}, CauseTokenExpired, []string{"expired at 2026-03-01T13:00:00Z", "this machine's clock says 2026-03-01T14:00:00Z", "ask for a new one"}, true},
		{"the machine is enrolled already", func(b *bench, _ *Options) { b.store.enrolled = "shop/other" }, CauseExists,
			[]string{"already, as Host shop/other", "--force"}, false},
		{"nothing can be written", func(b *bench, _ *Options) { b.store.unusable = errors.New("permission denied, run as root") }, CauseStorage,
			[]string{"run as root", "the token is still good"}, false},
		{"the keys cannot be kept", func(b *bench, o *Options) { o.PendingPath = "/nonexistent/pending" }, CauseStorage, []string{"/nonexistent/pending", "still good"}, false},
		{"the token was used", func(b *bench, _ *Options) {
			b.answer = refuse(409, wire.Error{Code: wire.CodeTokenUsed, Message: "used"})
		}, CauseTokenUsed,
			[]string{"used already", "ask for a new one"}, true},
		{"the token is unknown", func(b *bench, _ *Options) {
			b.answer = refuse(403, wire.Error{Code: wire.CodeTokenUnknown, Message: "no"})
		}, CauseTokenUnknown,
			[]string{"a newer one was minted", "Host shop/web-1 was deleted"}, true},
		{"the gateway says expired, and the clock is behind", func(b *bench, _ *Options) {
			b.clock.Jump(-26 * time.Hour)
			b.answer = refuse(410, wire.Error{Code: wire.CodeTokenExpired, Message: "old"})
		}, CauseTokenExpired, []string{"26h0m0s behind the gateway's: set it first"}, true},
		{"the controllers say expired", func(b *bench, _ *Options) {
			b.answer = func(w http.ResponseWriter, r wire.EnrolRequest) {
				v := b.approval(r)
				v.Approved, v.Reason = false, wire.EnrolTokenExpired
				b.verdict(w, v)
			}
		}, CauseTokenExpired, []string{"has expired: ask"}, true},
		{"the proof is wrong", func(b *bench, _ *Options) {
			b.answer = func(w http.ResponseWriter, r wire.EnrolRequest) {
				v := b.approval(r)
				v.Approved, v.Reason = false, wire.EnrolWrongProof
				b.verdict(w, v)
			}
		}, CauseTokenDamaged, []string{"changed on its way"}, true},
		{"a newer controller refuses for a reason of its own", func(b *bench, _ *Options) {
			b.answer = func(w http.ResponseWriter, r wire.EnrolRequest) {
				v := b.approval(r)
				v.Approved, v.Reason, v.Message = false, "Quota", "no more hosts in shop"
				b.verdict(w, v)
			}
		}, CauseRefused, []string{"no more hosts in shop"}, true},
		{"the controllers do not answer", func(b *bench, _ *Options) {
			b.answer = func(w http.ResponseWriter, _ wire.EnrolRequest) {
				w.WriteHeader(http.StatusAccepted)
				_, _ = w.Write([]byte(`{}`))
			}
		}, CauseTimeout, []string{"no verdict within 5m0s", "kubectl describe host -n shop web-1"}, true},
		{"another TLS key answers", func(b *bench, o *Options) {
			b.token.TLSPins = []string{"sha256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}
			o.Token = b.word()
		}, CauseGateway, []string{"none of the keys", "enrol again"}, false},
		{"nothing listens", func(b *bench, _ *Options) { b.server.Close() }, CauseGateway, []string{"connection refused", "whether the gateway runs"}, false},
		{"a web server answers", func(b *bench, _ *Options) {
			b.answer = func(w http.ResponseWriter, _ wire.EnrolRequest) { _, _ = w.Write([]byte("<html>hello")) }
		}, CauseGateway, []string{"not as a restic-manager gateway"}, true},
		{"a proxy says no", func(b *bench, _ *Options) {
			b.answer = func(w http.ResponseWriter, _ wire.EnrolRequest) { http.Error(w, "no", http.StatusForbidden) }
		}, CauseGateway, []string{"HTTP 403", "proxy"}, true},
		{"the result cannot be saved in the end", func(b *bench, _ *Options) { b.store.failing = errors.New("disk full") }, CauseStorage,
			[]string{"disk full", "run the same command line again"}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t)
			o := b.options()
			tt.change(b, &o)
			_, err := b.run(o)
			if cause(err) != tt.want {
				t.Fatalf("cause is %q, want %q: %v", cause(err), tt.want, err)
			}
			for _, say := range tt.says {
				if !strings.Contains(err.Error(), say) {
					t.Errorf("%q does not say %q", err, say)
				}
			}
			if !tt.asked && len(b.requests) > 0 {
				t.Error("the gateway was asked")
			}
			if b.store.saved != nil {
				t.Error("something was saved")
			}
		})
	}
}

func TestAVerdictThatTheControllersDidNotGiveIsNotBelieved(t *testing.T) {
	for name, forge := range map[string]func(b *bench, w http.ResponseWriter, v wire.EnrolVerdict){
		"signed by another key": func(b *bench, w http.ResponseWriter, v wire.EnrolVerdict) { b.signed(w, v, newSigner(b.t)) },
		"for another host":      func(b *bench, w http.ResponseWriter, v wire.EnrolVerdict) { v.Host.Name = "web-2"; b.verdict(w, v) },
		"for an earlier Host":   func(b *bench, w http.ResponseWriter, v wire.EnrolVerdict) { v.HostUID = "uid-0"; b.verdict(w, v) },
		"for another token":     func(b *bench, w http.ResponseWriter, v wire.EnrolVerdict) { v.TokenIDHash = "00"; b.verdict(w, v) },
		"for other keys":        func(b *bench, w http.ResponseWriter, v wire.EnrolVerdict) { v.IdentityHash = "00"; b.verdict(w, v) },
		"a document of another sort": func(b *bench, w http.ResponseWriter, _ wire.EnrolVerdict) {
			document := `{"label":"restic-manager/job-cancel/v1"}`
			_ = json.NewEncoder(w).Encode(wire.EnrolResponse{Verdict: document, Signatures: b.signer.Sign(document)})
		},
		"not signed": func(b *bench, w http.ResponseWriter, v wire.EnrolVerdict) {
			document, _ := wire.EncodeDocument(&v)
			_ = json.NewEncoder(w).Encode(wire.EnrolResponse{Verdict: document})
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.answer = func(w http.ResponseWriter, r wire.EnrolRequest) { forge(b, w, b.approval(r)) }
			_, err := b.run(b.options())
			if cause(err) != CauseForged || b.store.saved != nil {
				t.Errorf("cause is %q, saved is %v: %v", cause(err), b.store.saved, err)
			}
		})
	}
}

func TestAnInterruptedEnrolmentGoesOnWithTheSameKeys(t *testing.T) {
	b := newBench(t)
	b.store.failing = errors.New("disk full")
	if _, err := b.run(b.options()); cause(err) != CauseStorage {
		t.Fatal(err)
	}
	info, err := os.Stat(b.pending)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("pending keys: %v, %v", info, err)
	}
	b.store.failing = nil
	if _, err := b.run(b.options()); err != nil {
		t.Fatal(err)
	}
	if b.requests[0].Identity.Hash() != b.requests[1].Identity.Hash() {
		t.Error("the second run made other keys")
	}
	b.token.ID = "token-2"
	if _, err := b.run(b.options()); err != nil {
		t.Fatal(err)
	}
	if b.requests[1].Identity.Hash() == b.requests[2].Identity.Hash() {
		t.Error("another token got the keys of the first one")
	}
}

func TestForceReplacesAnEnrolment(t *testing.T) {
	b := newBench(t)
	b.store.enrolled = "shop/other"
	o := b.options()
	o.Force = true
	if _, err := b.run(o); err != nil || b.store.saved == nil {
		t.Errorf("error is %v, saved is %v", err, b.store.saved)
	}
}

func TestABusyGatewayIsAskedAgain(t *testing.T) {
	b := newBench(t)
	b.answer = func(w http.ResponseWriter, r wire.EnrolRequest) {
		if len(b.requests) < 3 {
			refuse(http.StatusServiceUnavailable, wire.Error{Code: wire.CodeBusy, Message: "busy", RetryAfterSeconds: 5})(w, r)
			return
		}
		b.verdict(w, b.approval(r))
	}
	if _, err := b.run(b.options()); err != nil {
		t.Fatal(err)
	}
	if passed := b.clock.Now().Sub(now); passed != 10*time.Second {
		t.Errorf("waited %v, want twice 5s", passed)
	}
}

func TestStoppingIsTold(t *testing.T) {
	b := newBench(t)
	ctx, cancel := context.WithCancel(context.Background())
	b.answer = func(w http.ResponseWriter, _ wire.EnrolRequest) {
		w.WriteHeader(http.StatusAccepted)
		_, _ = w.Write([]byte(`{}`))
		cancel()
	}
	_, err := Run(ctx, b.options())
	if cause(err) != CauseStopped || !strings.Contains(err.Error(), "run the same command line again") {
		t.Errorf("error is %v", err)
	}
}
