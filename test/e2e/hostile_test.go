package e2e

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.yaml.in/yaml/v3"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/test/stack"
)

// intruder has taken a machine over: it has true keys, and says what it likes.
type intruder struct {
	*world
	host    wire.HostRef
	key     ed25519.PrivateKey
	process string
	counter int64
}

// intruder enrols a machine whose agent never runs.
func (w *world) intruder(host string) *intruder {
	w.Helper()
	a, err := w.Enroll(w.Context(), stack.Machine{Namespace: w.ns, Host: host})
	w.must(err)
	raw, err := os.ReadFile(a.Config)
	w.must(err)
	var config struct {
		Identity map[string]string `yaml:"identity"`
	}
	w.must(yaml.Unmarshal(raw, &config))
	seed, err := base64.StdEncoding.DecodeString(config.Identity["signingKey"])
	w.must(err)
	return &intruder{world: w, host: wire.HostRef{Namespace: w.ns, Name: host}, key: ed25519.NewKeyFromSeed(seed), process: rand.Text()}
}

// dial opens a WebSocket to the gateway.
func (w *world) dial(ctx context.Context) (*websocket.Conn, error) {
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: w.CA.Pool(), MinVersion: tls.VersionTLS13}}}
	conn, _, err := websocket.Dial(ctx, w.URL+wire.ConnectPath, &websocket.DialOptions{HTTPClient: client})
	if err != nil {
		return nil, err
	}
	conn.SetReadLimit(wire.MaxFrame)
	return conn, nil
}

func receive(ctx context.Context, conn *websocket.Conn) (wire.Message, error) {
	_, frame, err := conn.Read(ctx)
	if err != nil {
		return nil, err
	}
	envelope, err := wire.Decode(frame)
	if err != nil {
		return nil, err
	}
	return envelope.Open()
}

func say(ctx context.Context, conn *websocket.Conn, m wire.Message) error {
	frame, err := wire.Encode("", m)
	if err != nil {
		return err
	}
	return conn.Write(ctx, websocket.MessageText, frame)
}

// connect opens a session.
func (i *intruder) connect() *websocket.Conn {
	i.Helper()
	var conn *websocket.Conn
	i.eventually("a session of "+i.host.String(), func(ctx context.Context) (err error) {
		if conn, err = i.dial(ctx); err != nil {
			return err
		}
		first, err := receive(ctx, conn)
		if err != nil {
			return err
		}
		challenge, ok := first.(*wire.Challenge)
		if !ok {
			return fmt.Errorf("got %+v, want a challenge", first)
		}
		gateway, err := url.Parse(i.URL)
		if err != nil {
			return err
		}
		i.counter++
		hello, err := wire.SignHello(i.key, wire.HelloBody{Nonce: challenge.Nonce, ServerName: gateway.Hostname(), Host: i.host, Protocol: wire.Protocol,
			Session: i.counter, Process: i.process, AgentVersion: "v9.9.9", Epoch: "made-up", Clock: time.Now()})
		if err != nil {
			return err
		}
		if err := say(ctx, conn, hello); err != nil {
			return err
		}
		answer, err := receive(ctx, conn)
		if err != nil {
			return err
		}
		if _, ok := answer.(*wire.Welcome); !ok {
			return fmt.Errorf("got %+v, want a welcome", answer)
		}
		return nil
	})
	i.Cleanup(func() { _ = conn.CloseNow() })
	return conn
}

// ends reads until the gateway ends the session.
func (i *intruder) ends(what string, conn *websocket.Conn) {
	i.Helper()
	ctx, cancel := context.WithTimeout(i.Context(), patience)
	defer cancel()
	for {
		if _, _, err := conn.Read(ctx); err != nil {
			if errors.Is(err, context.DeadlineExceeded) {
				i.Errorf("%s: the session goes on", what)
			}
			return
		}
	}
}

func TestAMachineThatWasTakenOverHarmsNoOther(t *testing.T) {
	w := newWorld(t, "hostile")
	for _, host := range []string{"good", "evil"} {
		w.host(host)
		w.group("data-"+host, host, w.files(host, "a"))
	}
	agent := w.agent("good")
	w.settled("good")
	evil := w.intruder("evil")

	t.Run("frames that are no messages end its session alone", func(t *testing.T) {
		for name, frame := range map[string]func(context.Context, *websocket.Conn) error{
			"a frame over the limit": func(ctx context.Context, c *websocket.Conn) error {
				return c.Write(ctx, websocket.MessageText, make([]byte, 4*wire.MaxFrame))
			},
			"a binary frame": func(ctx context.Context, c *websocket.Conn) error {
				return c.Write(ctx, websocket.MessageBinary, []byte("{}"))
			},
			"no JSON": func(ctx context.Context, c *websocket.Conn) error {
				return c.Write(ctx, websocket.MessageText, []byte(strings.Repeat("[", 1<<19)))
			},
			"a gateway's message": func(ctx context.Context, c *websocket.Conn) error {
				return say(ctx, c, &wire.Verdict{JobID: "x", Admit: true})
			},
		} {
			conn := evil.connect()
			_ = frame(t.Context(), conn) // the gateway may cut it off before it is whole
			evil.ends(name, conn)
		}
	})

	// A job of the good machine, which is away.
	w.must(agent.Stop())
	w.backup("others", "good", "data-good")
	w.eventually("the command of others", func(ctx context.Context) error {
		job, err := get(ctx, w, "others", &v1alpha1.HostJob{})
		if err != nil || job.Status.Command == nil {
			return fmt.Errorf("status is %+v, %w", job.Status, err)
		}
		return nil
	})
	job, err := get(t.Context(), w, "others", &v1alpha1.HostJob{})
	w.must(err)
	ref := wire.JobRef{JobID: wire.CommandID(string(job.UID)), Kind: wire.JobBackup, HostJob: job.Name, HostJobUID: string(job.UID), SourceGroup: "data-good"}
	conn := evil.connect()
	for _, m := range []wire.Message{
		&wire.JobStarted{Job: ref, StartedAt: time.Now()},
		&wire.JobProgress{Job: ref, BytesDone: 1, BytesTotal: 2},
		&wire.CommandAck{JobID: ref.JobID, Reason: wire.RefusalExpired, Message: "no"},
		&wire.JobFinished{Report: wire.ReportID{Epoch: "made-up", Seq: 1}, Job: ref, Outcome: wire.OutcomeSucceeded, FinishedAt: time.Now()},
	} {
		w.must(say(t.Context(), conn, m))
	}
	// Absurd numbers about itself. Its ack tells that all before it was handled.
	absurd := &wire.JobFinished{
		Report: wire.ReportID{Epoch: "made-up", Seq: math.MaxInt64}, Outcome: wire.OutcomeSucceeded, ExitCode: math.MinInt32,
		Job:       wire.JobRef{JobID: "made-up", Kind: wire.JobBackup, Schedule: strings.Repeat("s", 200), Nominal: "never", SourceGroup: "data-evil"},
		StartedAt: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), FinishedAt: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
		Backup: &wire.BackupSummary{SnapshotID: strings.Repeat("f", 200), FilesNew: math.MaxInt64, BytesProcessed: math.MinInt64, Errors: math.MaxInt64},
	}
	w.must(say(t.Context(), conn, absurd))
	for acked := int64(0); acked != absurd.Report.Seq; {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		m, err := receive(ctx, conn)
		cancel()
		w.must(err)
		if ack, ok := m.(*wire.ReportAck); ok {
			acked = ack.Report.Seq
		}
	}
	if job, err = get(t.Context(), w, "others", job); err != nil || job.Status.Phase != v1alpha1.JobPending || job.Status.Progress != nil || job.Status.Result != nil {
		t.Errorf("the job of another host has status %+v (%v) after what the intruder said of it", job.Status, err)
	}
	host := w.mustHost("evil")
	for _, r := range host.Status.SourceGroups {
		if r.Name != "data-evil" || r.FinishTime != nil && r.FinishTime.After(time.Now().Add(time.Minute)) {
			t.Errorf("what it says of itself is kept as %+v", r)
		}
	}
	if at := host.Status.LastSuccessTime; at != nil && at.After(time.Now().Add(time.Minute)) {
		t.Errorf("it succeeded at %v", at)
	}

	// Fires and results without end, and nobody reads the answers.
	flood := evil.connect()
	flooding, stop := context.WithCancel(t.Context())
	ended := make(chan int)
	go func() {
		n := 0
		for ; flooding.Err() == nil; n++ {
			_ = say(flooding, flood, &wire.Fire{JobID: "fire-" + strconv.Itoa(n), Schedule: "s", SourceGroup: "g", Nominal: "2026-03-29T02:30", Revision: "r"})
			err := say(flooding, flood, &wire.JobFinished{Report: wire.ReportID{Epoch: "flood", Seq: int64(n + 1)}, Outcome: wire.OutcomeFailed, Reason: "Made",
				Message: "up", Job: wire.JobRef{JobID: "flood-" + strconv.Itoa(n), Kind: wire.JobBackup, SourceGroup: "data-evil"}, FinishedAt: time.Now()})
			if err != nil {
				break
			}
		}
		ended <- n
	}()
	w.must(agent.Start(t.Context()))
	w.phase("others", v1alpha1.JobSucceeded)
	w.backup("during", "good", "data-good")
	w.phase("during", v1alpha1.JobSucceeded)
	stop()
	t.Logf("the flood was of %d fires and results", <-ended)
	made, err := w.events(t.Context(), v1alpha1.EventBackupFailed)
	w.must(err)
	if len(made) > 600 {
		t.Errorf("the flood left %d Events within seconds", len(made))
	}
	w.bounded()
}

// bounded fails when a gateway replica has grown beyond all measure.
func (w *world) bounded() {
	w.Helper()
	const limit = 400 << 20
	for _, g := range w.Replicas {
		peak, err := g.PeakMemory()
		w.must(err)
		w.Logf("%s needed at most %d MiB", g.Instance, peak>>20)
		if peak > limit {
			w.Errorf("%s needed %d MiB, want at most %d", g.Instance, peak>>20, limit>>20)
		}
	}
}

func TestStrangersWhoConnectWithoutEndKeepNobodyOut(t *testing.T) {
	w := newWorld(t, "strangers")
	w.host("one")
	w.host("two")
	w.group("data", "one", w.files("one", "a"))
	w.agent("one")
	w.settled("one")

	gateway, err := url.Parse(w.URL)
	w.must(err)
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	silent := make(chan net.Conn, 1200)
	kinds := []func() (net.Conn, error){
		func() (net.Conn, error) { return (&net.Dialer{}).DialContext(ctx, "tcp", gateway.Host) },
		func() (net.Conn, error) {
			return (&tls.Dialer{Config: &tls.Config{RootCAs: w.CA.Pool(), MinVersion: tls.VersionTLS13}}).DialContext(ctx, "tcp", gateway.Host)
		},
		func() (net.Conn, error) { // one header line, and then nothing
			c, err := (&tls.Dialer{Config: &tls.Config{RootCAs: w.CA.Pool(), MinVersion: tls.VersionTLS13}}).DialContext(ctx, "tcp", gateway.Host)
			if err == nil {
				_, err = c.Write([]byte("GET " + wire.ConnectPath + " HTTP/1.1\r\nHost: "))
			}
			return c, err
		},
	}
	for n := range cap(silent) {
		conn, err := kinds[n%len(kinds)]()
		if err != nil {
			t.Logf("connection %d: %v", n, err)
			continue
		}
		silent <- conn
	}
	close(silent)
	// WebSockets without a hello, until the gateway turns them away.
	sockets := 0
	for range 700 {
		conn, err := w.dial(ctx)
		if err != nil {
			continue
		}
		sockets++
		t.Cleanup(func() { _ = conn.CloseNow() })
	}
	t.Logf("%d silent connections, %d WebSockets without a hello", len(silent), sockets)

	w.backup("during", "one", "data")
	w.phase("during", v1alpha1.JobSucceeded)
	w.agent("two")
	w.settled("two")
	for conn := range silent {
		_ = conn.Close()
	}
	w.bounded()

	// Enrolments with tokens that nobody made: they are turned away, and one that is good goes through afterwards.
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: w.CA.Pool(), MinVersion: tls.VersionTLS13}}}
	body, err := json.Marshal(wire.EnrolRequest{Host: wire.HostRef{Namespace: w.ns, Name: "two"}, HostUID: string(w.mustHost("two").UID), TokenID: "guessed",
		Identity: wire.Identity{SigningKey: make([]byte, wire.KeySize), SealingKey: make([]byte, wire.KeySize)}, Proof: make([]byte, 32), AgentVersion: "v9.9.9"})
	w.must(err)
	answers := map[int]int{}
	for range 300 {
		response, err := client.Post(w.URL+wire.EnrolPath, "application/json", strings.NewReader(string(body)))
		w.must(err)
		answers[response.StatusCode]++
		_ = response.Body.Close()
	}
	t.Logf("answers to guesses: %v", answers)
	if answers[http.StatusTooManyRequests] == 0 || answers[http.StatusForbidden] == 0 || answers[http.StatusAccepted] != 0 || answers[http.StatusOK] != 0 {
		t.Errorf("300 guesses within moments were answered with %v", answers)
	}
	w.host("three")
	w.eventually("an enrolment after the flood", func(ctx context.Context) error {
		_, err := w.Enroll(ctx, stack.Machine{Namespace: w.ns, Host: "three"})
		return err
	})
}
