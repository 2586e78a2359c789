package agent

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/restic-manager/restic-manager/agent/clock"
	"github.com/restic-manager/restic-manager/agent/config"
	"github.com/restic-manager/restic-manager/agent/transport"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/api/wire/seal"
)

const password = "correct horse battery staple"

// world is a machine with an agent, a gateway that does as the test says, the controllers' key, and a repository.
type world struct {
	t        *testing.T
	config   *config.Config
	identity wire.Identity
	signer   *seal.Signer
	clock    clock.Clock
	root     string
	repo     string
	source   string
	logs     *safeBuffer
	// environment opens the repository, caBundle is of its server.
	environment map[string]string
	caBundle    string
	// configPath is where the agent's configuration is said to come from.
	configPath string
	got        chan wire.Message // all that the agent says, but heartbeats
	// withhold keeps the gateway from acknowledging reports.
	withhold bool
	// refuse, where set, may answer a hello with an error instead of a welcome.
	refuse func(wire.HelloBody) *wire.Error

	mu   sync.Mutex
	conn *websocket.Conn
	// answers are collected by the numbers of their streams.
	answers answersByStream
	serial  int64
	hellos  int
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *safeBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *safeBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// findRestic returns a built restic, or that of the machine.
func findRestic(t *testing.T) string {
	t.Helper()
	for _, path := range []string{"../.cache/bin/restic-0.19", "../.cache/bin/restic-0.18"} {
		if absolute, err := filepath.Abs(path); err == nil {
			if _, err := os.Stat(absolute); err == nil {
				return absolute
			}
		}
	}
	path, err := exec.LookPath("restic")
	if err != nil {
		t.Skip("there is no restic; make components builds one")
	}
	return path
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

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, signer: newSigner(t), clock: clock.Real{}, root: t.TempDir(), logs: &safeBuffer{}, got: make(chan wire.Message, 10000), serial: 100,
		environment: map[string]string{"RESTIC_PASSWORD": password}}
	w.repo, w.source = filepath.Join(w.root, "repo"), filepath.Join(w.root, "source")
	server := httptest.NewUnstartedServer(http.HandlerFunc(w.serve))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	sealing, err := seal.NewSealingKey()
	if err != nil {
		t.Fatal(err)
	}
	seed := make([]byte, ed25519.SeedSize)
	_, _ = rand.Read(seed)
	w.config = &config.Config{
		Host:        config.Host{Namespace: "shop", Name: "web-1", UID: "uid-1"},
		Gateway:     config.Gateway{URL: server.URL, TLSPins: []string{transport.Pin(server.Certificate())}},
		Identity:    config.Identity{SigningKey: seed, SealingKey: sealing},
		SigningKeys: config.FromWire(w.signer.PublicKeys()),
		SerialFloor: 50,
		StateDir:    filepath.Join(w.root, "state"),
		ResticPath:  findRestic(t),
	}
	if w.identity, err = w.config.PublicIdentity(); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"a.txt": "alpha", "dir/b.txt": strings.Repeat("beta", 1000)} {
		path := filepath.Join(w.source, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if strings.Contains(w.logs.String(), password) {
			t.Error("the repository password stands in the log")
		}
		if t.Failed() {
			t.Logf("the agent's log:\n%s", w.logs)
		}
	})
	return w
}

// serve is the gateway: it greets, acknowledges reports and passes the rest on.
func (w *world) serve(rw http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(rw, r, nil)
	if err != nil {
		return
	}
	defer conn.CloseNow()
	conn.SetReadLimit(wire.MaxFrame)
	nonce := make([]byte, wire.NonceSize)
	_, _ = rand.Read(nonce)
	write(conn, &wire.Challenge{Nonce: nonce, ServerName: "127.0.0.1", MinProtocol: 1, Protocol: 1})
	first, err := read(conn)
	if err != nil {
		return
	}
	hello, ok := first.(*wire.Hello)
	if !ok || hello.Verify(w.identity.SigningKey) != nil {
		w.t.Errorf("the agent begins with %T", first)
		return
	}
	if body, err := hello.Claimed(); err == nil && w.refuse != nil {
		if refusal := w.refuse(body); refusal != nil {
			write(conn, refusal)
			return
		}
	}
	write(conn, &wire.Welcome{HeartbeatSeconds: 30, Gateway: "gateway-0", Time: w.clock.Now()})
	w.mu.Lock()
	w.conn = conn
	w.hellos++
	w.mu.Unlock()
	w.got <- first
	for {
		kind, frame, err := conn.Read(context.Background())
		if err != nil {
			return
		}
		if kind == websocket.MessageBinary {
			w.takeData(frame)
			continue
		}
		m, err := decode(frame)
		if err != nil {
			return
		}
		if w.takeClose(m) {
			continue
		}
		if report, ok := m.(wire.Report); ok && !w.withhold {
			write(conn, &wire.ReportAck{Report: report.ID()})
		}
		if m.MessageType() != wire.TypeHeartbeat {
			w.got <- m
		}
	}
}

func write(conn *websocket.Conn, m wire.Message) {
	if frame, err := wire.Encode("", m); err == nil {
		_ = conn.Write(context.Background(), websocket.MessageText, frame)
	}
}

func read(conn *websocket.Conn) (wire.Message, error) {
	_, frame, err := conn.Read(context.Background())
	if err != nil {
		return nil, err
	}
	return decode(frame)
}

func decode(frame []byte) (wire.Message, error) {
	envelope, err := wire.Decode(frame)
	if err != nil {
		return nil, err
	}
	return envelope.Open()
}

func (w *world) send(m wire.Message) {
	w.mu.Lock()
	defer w.mu.Unlock()
	write(w.conn, m)
}

// drop ends the present connection without a word.
func (w *world) drop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	_ = w.conn.CloseNow()
}

// next returns the next message of type M that satisfies the condition, passing over all others.
func next[M wire.Message](w *world, what string, condition func(M) bool) M {
	w.t.Helper()
	deadline := time.After(60 * time.Second)
	for {
		select {
		case m := <-w.got:
			if wanted, ok := m.(M); ok && (condition == nil || condition(wanted)) {
				return wanted
			}
		case <-deadline:
			w.t.Fatalf("waited in vain for %s", what)
		}
	}
}

// finished waits for the result of a job.
func (w *world) finished(jobID string) *wire.JobFinished {
	w.t.Helper()
	return next(w, "the result of "+jobID, func(m *wire.JobFinished) bool { return m.Job.JobID == jobID })
}

// answer waits for the answer to a command.
func (w *world) answer(jobID string) *wire.CommandAck {
	w.t.Helper()
	return next(w, "the answer to "+jobID, func(m *wire.CommandAck) bool { return m.JobID == jobID })
}

// start runs an agent; stop (also at the test's end) ends it as SIGTERM would.
func (w *world) start() (stop func()) {
	w.t.Helper()
	a, err := New(Options{Config: w.config, ConfigPath: w.configPath, Version: "v1", Clock: w.clock, UnreachableAfter: 20 * time.Second, RetryLock: -1,
		Logger: slog.New(slog.NewTextHandler(w.logs, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		a.Run(ctx)
	}()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			<-done
			if err := a.Close(); err != nil {
				w.t.Error(err)
			}
		})
	}
	w.t.Cleanup(stop)
	return stop
}

func (w *world) repository() wire.Repository {
	return wire.Repository{URL: w.repo, CABundle: w.caBundle, Credential: wire.CredentialRepository}
}

func (w *world) group() wire.SourceGroup {
	return wire.SourceGroup{Name: "etc", Generation: 1, Tag: "etc", Includes: []string{w.source}}
}

// offer is a signed set for this machine; change may spoil or extend it before it is signed.
func (w *world) offer(change ...func(*wire.ScheduleSet)) *wire.SetOffer {
	w.t.Helper()
	sealed, err := seal.SealCredential(w.config.Ref(), w.identity, wire.CredentialRepository, wire.Credential{Environment: w.environment})
	if err != nil {
		w.t.Fatal(err)
	}
	w.serial++
	set := &wire.ScheduleSet{Label: wire.ScheduleSetLabel, Host: w.config.Ref(), IdentityHash: w.identity.Hash(), Serial: w.serial,
		Revision: "r" + time.Unix(w.serial, 0).UTC().Format("150405"), ResticHost: w.config.Ref().ResticHost(),
		Repository: w.repository(), Groups: []wire.SourceGroup{w.group()},
		Credentials: []wire.CredentialHash{{Name: sealed.Name, SHA256: seal.Hash(sealed.Sealed)}}, SigningKeys: w.signer.PublicKeys()}
	for _, c := range change {
		c(set)
	}
	raw, err := json.Marshal(set)
	if err != nil {
		w.t.Fatal(err)
	}
	return &wire.SetOffer{Revision: set.Revision, Bundle: string(raw), Signatures: w.signer.Sign(string(raw)), Credentials: []wire.SealedCredential{sealed}}
}

// apply sends a set and waits until it is in force.
func (w *world) apply(change ...func(*wire.ScheduleSet)) {
	w.t.Helper()
	offer := w.offer(change...)
	w.send(offer)
	// The set that was in force before may be acknowledged once more at a connect.
	ack := next(w, "the set's ack", func(m *wire.SetAck) bool { return m.Revision == offer.Revision })
	if !ack.Applied {
		w.t.Fatalf("the set was not applied: %+v", ack)
	}
}

// ready brings an agent to the point where its repository is made.
func (w *world) ready() (stop func()) {
	w.t.Helper()
	stop = w.start()
	next[*wire.Hello](w, "the hello", nil)
	w.apply()
	next(w, "a ready repository", func(m *wire.RepoState) bool { return m.State == wire.RepositoryReady })
	return stop
}

// command is a signed command for this machine.
func (w *world) command(uid string, change func(*wire.JobCommand)) *wire.CommandRun {
	w.t.Helper()
	c := &wire.JobCommand{Label: wire.JobCommandLabel, Host: w.config.Ref(), IdentityHash: w.identity.Hash(), Name: "manual", UID: uid,
		NotAfter: w.clock.Now().Add(time.Hour), Kind: wire.JobBackup, ResticHost: w.config.Ref().ResticHost(),
		Repository: w.repository()}
	group := w.group()
	c.Backup = &group
	if change != nil {
		change(c)
	}
	raw, err := json.Marshal(c)
	if err != nil {
		w.t.Fatal(err)
	}
	return &wire.CommandRun{JobID: wire.CommandID(uid), Command: string(raw), Signatures: w.signer.Sign(string(raw))}
}

// slow caps the upload so that a backup lasts.
func slow(c *wire.JobCommand) { c.Bandwidth.UploadKBps = 1 }

func (w *world) cancelCommand(uid string) *wire.CommandCancel {
	w.t.Helper()
	c := &wire.JobCancel{Label: wire.JobCancelLabel, Host: w.config.Ref(), IdentityHash: w.identity.Hash(), UID: uid}
	raw, err := json.Marshal(c)
	if err != nil {
		w.t.Fatal(err)
	}
	return &wire.CommandCancel{JobID: wire.CommandID(uid), Cancel: string(raw), Signatures: w.signer.Sign(string(raw))}
}

// big adds a file that takes a slow backup minutes.
func (w *world) big() {
	w.t.Helper()
	content := make([]byte, 4<<20)
	_, _ = rand.Read(content)
	if err := os.WriteFile(filepath.Join(w.source, "big"), content, 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// until polls a condition that no message tells.
func (w *world) until(what string, condition func() bool) {
	w.t.Helper()
	deadline := time.After(60 * time.Second)
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for !condition() {
		select {
		case <-poll.C:
		case <-deadline:
			w.t.Fatalf("waited in vain until %s", what)
		}
	}
}

// restic runs a command line on the repository as a person would.
func (w *world) restic(password, input string, args ...string) {
	w.t.Helper()
	c := exec.Command(w.config.ResticPath, args...)
	c.Stdin = strings.NewReader(input)
	c.Env = []string{"RESTIC_REPOSITORY=" + w.repo, "RESTIC_PASSWORD=" + password, "RESTIC_CACHE_DIR=" + w.t.TempDir()}
	if out, err := c.CombinedOutput(); err != nil {
		w.t.Fatalf("restic %v: %v: %s", args, err, out)
	}
}
