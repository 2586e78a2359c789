package session

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/restic-manager/restic-manager/api/wire"
)

// accepting runs then on each connection after a proper greeting.
func accepting(b **bench, then func(*peer)) func(*peer) {
	return func(p *peer) {
		if p.challenge((*b).key, "127.0.0.1") {
			p.welcome()
			then(p)
		}
	}
}

func TestASessionCarriesMessagesBothWays(t *testing.T) {
	got := make(chan wire.Message, 10)
	hello := make(chan wire.HelloBody, 1)
	var b *bench
	b = newBench(t, accepting(&b, func(p *peer) {
		hello <- p.body
		p.raw([]byte(`{"type":"news.flash","payload":{"x":1}}`))
		p.raw([]byte(`{"type":"fire.verdict","payload":{"jobID":""}}`))
		p.send(&wire.Verdict{JobID: "fire-1", Admit: true})
		p.send(&wire.ReportAck{Report: wire.ReportID{Epoch: "e", Seq: 3}})
		for {
			m, err := p.read()
			if err != nil {
				return
			}
			got <- m
		}
	}))
	if err := b.client.Send(&wire.Heartbeat{}); !errors.Is(err, ErrNotConnected) {
		t.Errorf("send without a session gives %v, want ErrNotConnected", err)
	}
	b.run()
	await(t, b.handler.connected, "the session")
	body := await(t, hello, "the hello")
	if body.Session != 1 || body.Process == "" || body.Protocol != wire.Protocol || !body.Clock.Equal(start) || body.Host.Name != "web-1" {
		t.Errorf("hello is %+v", body)
	}
	if m, ok := await(t, b.handler.messages, "the verdict").(*wire.Verdict); !ok || m.JobID != "fire-1" {
		t.Errorf("first message is %+v", m)
	}
	if m, ok := await(t, b.handler.messages, "the ack").(*wire.ReportAck); !ok || m.Report.Seq != 3 {
		t.Errorf("second message is %+v", m)
	}
	if err := b.client.Send(&wire.SetAck{Revision: "r1", Applied: true}); err != nil {
		t.Fatal(err)
	}
	if m, ok := await(t, got, "the set's ack").(*wire.SetAck); !ok || m.Revision != "r1" {
		t.Errorf("gateway got %+v", m)
	}
	b.clock.BlockUntil(2) // heartbeat and watchdog
	b.clock.Advance(30 * time.Second)
	if m := await(t, got, "a heartbeat"); m.MessageType() != wire.TypeHeartbeat {
		t.Errorf("gateway got %s, want a heartbeat", m.MessageType())
	}
	if n := b.logs.lines("ignoring an invalid message"); n != 1 {
		t.Errorf("the invalid message is logged %d times, want once:\n%s", n, b.logs)
	}
	if err := b.client.Send(&wire.SetAck{}); err == nil || errors.Is(err, ErrNotConnected) {
		t.Errorf("an invalid message was sent: %v", err)
	}
	b.cancel()
	await(t, b.handler.disconnected, "the end")
	if err := b.client.Send(&wire.Heartbeat{}); !errors.Is(err, ErrNotConnected) {
		t.Errorf("send after the end gives %v", err)
	}
}

func TestAFullQueueIsToldAndNeverBlocks(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	var b *bench
	b = newBench(t, accepting(&b, func(*peer) { <-release }))
	b.run()
	await(t, b.handler.connected, "the session")
	big := &wire.SetAck{Revision: "r", Reason: wire.RefusalInvalid, Message: strings.Repeat("x", wire.MaxString)}
	for range 100_000 {
		err := b.client.Send(big)
		if errors.Is(err, ErrQueueFull) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Error("100,000 messages to a gateway that reads nothing were all taken")
}

func TestAMachineStaysInLineWhileTheGatewaySaysSo(t *testing.T) {
	var b *bench
	b = newBench(t, func(p *peer) {
		if p.challenge((*b).key, "127.0.0.1") {
			p.send(&wire.Wait{Seconds: 40})
			p.raw([]byte(`{"type":"news.flash","payload":{"x":1}}`))
			p.send(&wire.Wait{Seconds: 30})
			p.welcome()
			p.drainReads()
		}
	})
	b.run()
	await(t, b.handler.connected, "the session")
	if said := b.logs.String(); strings.Count(said, "waiting in line") != 1 || !strings.Contains(said, "40s") {
		t.Errorf("the log says: %s", said)
	}
}

func TestTheAgentNeverLoopsHotWhateverTheGatewayDoes(t *testing.T) {
	for _, tt := range []struct {
		name   string
		rounds int
		heeded bool // the gateway names a time
		serve  func(b **bench) func(*peer)
	}{
		{"it accepts and closes at once", 1000, false, func(b **bench) func(*peer) { return accepting(b, func(*peer) {}) }},
		{"it closes before the challenge", 25, false, func(**bench) func(*peer) { return func(*peer) {} }},
		{"it drains at once, for ever", 25, false, func(b **bench) func(*peer) {
			return accepting(b, func(p *peer) { p.send(&wire.Drain{}); p.drainReads() })
		}},
		{"it names ever newer session counters", 25, false, func(b **bench) func(*peer) {
			return func(p *peer) {
				if p.challenge((*b).key, "127.0.0.1") {
					p.send(&wire.Error{Code: wire.CodeStaleSession, Message: "stale", Session: p.body.Session + 5})
				}
			}
		}},
		{"it says busy without a time", 25, false, func(**bench) func(*peer) {
			return func(p *peer) { p.send(&wire.Error{Code: wire.CodeBusy, Message: "busy"}) }
		}},
		{"it says busy for a second, for ever", 40, true, func(**bench) func(*peer) {
			return func(p *peer) {
				p.send(&wire.Error{Code: wire.CodeBusy, Message: "busy", RetryAfterSeconds: 1})
			}
		}},
		{"it has the machine wait without end", 25, false, func(b **bench) func(*peer) {
			return func(p *peer) {
				if p.challenge((*b).key, "127.0.0.1") {
					for range maxGreeting {
						p.send(&wire.Wait{Seconds: 1})
					}
				}
			}
		}},
		{"it sends garbage", 25, false, func(**bench) func(*peer) { return func(p *peer) { p.raw([]byte("{")) } }},
		{"it sends a giant frame", 12, false, func(b **bench) func(*peer) {
			return accepting(b, func(p *peer) { p.raw(make([]byte, wire.MaxFrame+1)); p.drainReads() })
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var b *bench
			b = newBench(t, tt.serve(&b))
			b.run()
			var total time.Duration
			for i := range tt.rounds {
				wait := b.passIdle()
				// With the random source at its middle each wait is half of its ceiling. A gateway that names a time is heeded for a while.
				if least := min(time.Second<<min(i, 10), time.Minute) / 2; wait < least && (!tt.heeded || i >= heeded || wait < time.Second) {
					t.Fatalf("wait %d is %v, want at least %v", i, wait, least)
				}
				total += wait
			}
			grown := tt.rounds - 7
			if tt.heeded {
				grown = tt.rounds - heeded
			}
			if least := time.Duration(grown) * 30 * time.Second; total < least {
				t.Errorf("%d attempts in %v, want them spread over %v", tt.rounds, total, least)
			}
			if n := strings.Count(b.logs.String(), "\n"); n > 4 {
				t.Errorf("%d lines were logged for one problem:\n%s", n, b.logs)
			}
		})
	}
}

func TestRefusalsAreHonoured(t *testing.T) {
	for _, tt := range []struct {
		name    string
		refusal wire.Error
		least   time.Duration
		most    time.Duration
		says    string
	}{
		{"protocol too old", wire.Error{Code: wire.CodeProtocolTooOld, Message: "2 needed", HelpURL: "https://help.example.com/upgrade"},
			10 * time.Minute, 16 * time.Minute, "https://help.example.com/upgrade"},
		{"keys not accepted", wire.Error{Code: wire.CodeBadSignature, Message: "no"}, 10 * time.Minute, 16 * time.Minute, "enrol this machine again"},
		{"a cloned machine", wire.Error{Code: wire.CodeDuplicateIdentity, Message: "twin"}, 10 * time.Minute, 16 * time.Minute, "same identity"},
		{"the host was removed", wire.Error{Code: wire.CodeHostRemoved, Message: "gone"}, 5 * time.Minute, 8 * time.Minute, "was deleted"},
		{"superseded", wire.Error{Code: wire.CodeSuperseded, Message: "newer"}, time.Minute, 2 * time.Minute, "took over"},
		{"busy for a while", wire.Error{Code: wire.CodeBusy, Message: "busy", RetryAfterSeconds: 20}, 20 * time.Second, 30 * time.Second, "busy"},
		{"sent away for a day", wire.Error{Code: wire.CodeBusy, Message: "busy", RetryAfterSeconds: 86400}, time.Hour, 62 * time.Minute, "busy"},
		{"not published yet", wire.Error{Code: wire.CodeUnknownHost, Message: "no set"}, 0, time.Second, "not published"},
		{"a code of a newer gateway", wire.Error{Code: "on_holiday", Message: "back soon"}, 0, time.Second, "back soon"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var b *bench
			b = newBench(t, func(p *peer) {
				if p.challenge(b.key, "127.0.0.1") {
					p.send(&tt.refusal)
					p.drainReads()
				}
			})
			b.run()
			first := b.passIdle()
			if first < tt.least || first > tt.most {
				t.Errorf("the wait is %v, want %v to %v", first, tt.least, tt.most)
			}
			b.passIdle()
			b.passIdle()
			if n := b.logs.lines(tt.says); n != 1 {
				t.Errorf("%q is logged %d times, want once:\n%s", tt.says, n, b.logs)
			}
		})
	}
}

func TestAMachineWhoseHostWasRemovedLooksRarelyAndSaysSoOnce(t *testing.T) {
	var removed atomic.Bool
	removed.Store(true)
	answer := make(chan wire.Error, 1)
	var b *bench
	b = newBench(t, func(p *peer) {
		if p.challenge(b.key, "127.0.0.1") {
			e := <-answer
			p.send(&e)
			p.drainReads()
		}
	})
	b.client.o.Removed = removed.Load
	b.run()
	next := func(e wire.Error, least, most time.Duration) {
		t.Helper()
		answer <- e
		if wait := b.passIdle(); wait < least || wait > most {
			t.Errorf("after %s the wait is %v, want %v to %v", e.Code, wait, least, most)
		}
	}
	gone := wire.Error{Code: wire.CodeHostRemoved, Message: "Host shop/web-1 was deleted"}
	unknown := wire.Error{Code: wire.CodeUnknownHost, Message: "no set"}
	next(gone, 15*time.Second, 30*time.Second)
	next(unknown, 30*time.Second, time.Minute)
	next(wire.Error{Code: wire.CodeBadSignature, Message: "no"}, time.Minute, 2*time.Minute)
	for range 8 {
		answer <- unknown
		b.passIdle()
	}
	next(unknown, 30*time.Minute, time.Hour)
	if n := b.logs.lines("in case the Host comes back"); n != 1 {
		t.Errorf("it is told %d times, want once:\n%s", n, b.logs)
	}
	if n := b.logs.lines("level=ERROR"); n != 0 {
		t.Errorf("what is as it should be is told as an error:\n%s", b.logs)
	}
	// A gateway that knows the Host again is followed at once.
	next(wire.Error{Code: wire.CodeBusy, Message: "come again", RetryAfterSeconds: 1}, time.Second, time.Minute)
	removed.Store(false)
	next(wire.Error{Code: wire.CodeBusy, Message: "come again", RetryAfterSeconds: 1}, time.Second, time.Minute)
	removed.Store(true)
	next(unknown, 15*time.Second, 30*time.Second)
}

func TestHTTPRefusalsAreHonoured(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer http.HandlerFunc
		least  time.Duration
		says   string
	}{
		{"a proxy's page", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "<html>", http.StatusBadGateway) }, 0, "answers HTTP 502"},
		{"retry-after of something in between", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "120")
			w.WriteHeader(http.StatusServiceUnavailable)
		}, 2 * time.Minute, "answers HTTP 503"},
		{"the gateway's own error", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusTooManyRequests)
			_, _ = w.Write([]byte(`{"code":"busy","message":"storm","retryAfterSeconds":30}`))
		}, 30 * time.Second, "the gateway is busy"},
		{"a redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://elsewhere.invalid", http.StatusFound)
		}, 0, "answers HTTP 302"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBenchHTTP(t, tt.answer)
			b.run()
			if wait := b.passIdle(); wait < tt.least {
				t.Errorf("the wait is %v, want at least %v", wait, tt.least)
			}
			b.passIdle()
			if n := b.logs.lines(tt.says); n != 1 {
				t.Errorf("%q is logged %d times, want once:\n%s", tt.says, n, b.logs)
			}
		})
	}
}

func TestAnotherServersChallengeIsNotSigned(t *testing.T) {
	signed := make(chan bool, 10)
	b := newBench(t, func(p *peer) {
		p.send(&wire.Challenge{Nonce: make([]byte, wire.NonceSize), ServerName: "victim.example.com", MinProtocol: 1, Protocol: 1})
		_, err := p.read()
		signed <- err == nil
	})
	b.run()
	if await(t, signed, "the answer") {
		t.Error("the agent signed a challenge in the name of another server")
	}
	b.passIdle()
	if b.logs.lines("victim.example.com") != 1 {
		t.Errorf("the log does not say what happened:\n%s", b.logs)
	}
}

func TestAGatewayOfANewerProtocolIsToldInWords(t *testing.T) {
	b := newBench(t, func(p *peer) {
		p.send(&wire.Challenge{Nonce: make([]byte, wire.NonceSize), ServerName: "127.0.0.1", MinProtocol: 7, Protocol: 9})
		p.drainReads()
	})
	b.run()
	if wait := b.passIdle(); wait < 10*time.Minute {
		t.Errorf("the wait is %v, want at least 10m", wait)
	}
	if b.logs.lines("upgrade restic-manager-agent") != 1 {
		t.Errorf("log:\n%s", b.logs)
	}
}

func TestADeadConnectionIsNoticed(t *testing.T) {
	later, release := make(chan struct{}), make(chan struct{})
	defer close(release)
	var b *bench
	b = newBench(t, accepting(&b, func(p *peer) { // reads nothing, so it sends no pong
		<-later
		p.send(&wire.ReportAck{Report: wire.ReportID{Epoch: "e1", Seq: 1}})
		<-release
	}))
	b.run()
	await(t, b.handler.connected, "the session")
	// It is heard of last a little after the second, as by a pong.
	const late = 5 * time.Millisecond
	b.clock.BlockUntil(2)
	heard := b.heard()
	b.clock.Advance(late)
	close(later)
	b.until(func() bool { return b.heard().After(heard) }, "its last word")
	b.clock.Advance(30*time.Second - late)
	for range 2 {
		b.clock.BlockUntil(2)
		b.clock.Advance(30 * time.Second)
	}
	await(t, b.handler.disconnected, "the end of a silent session")
	b.passIdle()
	if b.logs.lines("no answer from the gateway for 1m30s") != 1 {
		t.Errorf("log:\n%s", b.logs)
	}
}

func TestALivelyConnectionStays(t *testing.T) {
	pinged := make(chan struct{}, 100)
	var b *bench
	b = newBenchPinged(t, pinged, func(p *peer) {
		if p.challenge(b.key, "127.0.0.1") {
			p.welcome()
			p.drainReads()
		}
	})
	b.run()
	await(t, b.handler.connected, "the session")
	for range 20 {
		b.clock.BlockUntil(2)
		heard := b.heard()
		b.clock.Advance(30 * time.Second)
		await(t, pinged, "a ping")
		b.until(func() bool { return b.heard().After(heard) }, "the pong")
	}
	if len(b.handler.disconnected) != 0 || !b.client.Connected() {
		t.Error("a lively session was ended")
	}
}

func TestWherePingsCountNothingElseIsSent(t *testing.T) {
	pinged, messages := make(chan struct{}, 100), make(chan wire.Message, 100)
	var b *bench
	b = newBenchPinged(t, pinged, func(p *peer) {
		if !p.challenge(b.key, "127.0.0.1") {
			return
		}
		p.send(&wire.Welcome{HeartbeatSeconds: 10, PingsCount: true, Gateway: "gateway-0", Time: start})
		for {
			m, err := p.read()
			if err != nil {
				return
			}
			messages <- m
		}
	})
	b.run()
	await(t, b.handler.connected, "the session")
	for range 5 {
		b.clock.BlockUntil(1) // the watchdog alone
		heard := b.heard()
		b.clock.Advance(10 * time.Second)
		await(t, pinged, "a ping")
		b.until(func() bool { return b.heard().After(heard) }, "the pong")
	}
	if err := b.client.Send(&wire.SetAck{Revision: "r1", Applied: true}); err != nil {
		t.Fatal(err)
	}
	if m := await(t, messages, "the set's ack"); m.MessageType() != wire.TypeScheduleAck {
		t.Errorf("the gateway got %s besides pings", m.MessageType())
	}
}

func TestADrainedSessionMovesWithinTheSpread(t *testing.T) {
	var b *bench
	b = newBench(t, accepting(&b, func(p *peer) {
		p.send(&wire.Drain{SpreadSeconds: 20})
		p.drainReads()
	}))
	b.run()
	await(t, b.handler.connected, "the session")
	b.clock.BlockUntil(3) // heartbeat, watchdog, drain
	if d, _ := b.clock.NextTimer(); d != 10*time.Second {
		t.Errorf("the session stays for %v, want the drawn half of 20s", d)
	}
	b.clock.Advance(9 * time.Second)
	if !b.client.Connected() {
		t.Error("the session ended before its time")
	}
	b.clock.Advance(time.Second)
	await(t, b.handler.disconnected, "the end")
	b.passIdle()
	await(t, b.handler.connected, "the next session")
	if b.logs.lines("reconnect elsewhere") != 1 {
		t.Errorf("log:\n%s", b.logs)
	}
}

func TestAStableSessionResetsTheBackoff(t *testing.T) {
	end := make(chan struct{})
	var accept atomic.Bool
	var b *bench
	b = newBench(t, func(p *peer) {
		if accept.Load() && p.challenge(b.key, "127.0.0.1") {
			p.welcome()
			go func() { <-end; p.conn.CloseNow() }()
			p.drainReads()
		}
	})
	b.run()
	for i := range 8 {
		b.clock.BlockUntil(1)
		accept.Store(i == 7)
		b.passIdle()
	}
	await(t, b.handler.connected, "the session")
	for range 2 {
		b.clock.BlockUntil(2)
		heard := b.heard()
		b.clock.Advance(30 * time.Second)
		b.until(func() bool { return b.heard().After(heard) }, "the pong")
	}
	close(end)
	await(t, b.handler.disconnected, "the end")
	if wait := b.passIdle(); wait > time.Second {
		t.Errorf("the wait after a stable session is %v, want at most 1s", wait)
	}
}

func TestTheBackoffIsExponentialWithFullJitter(t *testing.T) {
	for _, tt := range []struct {
		random float64
		want   []time.Duration
	}{
		{0, []time.Duration{minWait, minWait, minWait, minWait, minWait, minWait, minWait, minWait}},
		{1, []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second, 32 * time.Second, time.Minute, time.Minute}},
	} {
		b := backoff{random: func() float64 { return tt.random }}
		for i, want := range tt.want {
			if got := b.next(0); got != want {
				t.Errorf("random %v: wait %d is %v, want %v", tt.random, i, got, want)
			}
		}
	}
}

func TestWhatTheGatewayAsksForIsWorthMoreThanTheBackoff(t *testing.T) {
	b := backoff{random: func() float64 { return 1 }}
	for range 6 { // it is away for a minute
		b.next(0)
	}
	for i := range heeded - 6 {
		if got, want := b.next(8*time.Second), 10*time.Second; got != want {
			t.Errorf("answer %d: the wait is %v, want %v", i, got, want)
		}
	}
	if got := b.next(8 * time.Second); got != lastWait {
		t.Errorf("one that goes on sending the agent away is dialled after %v", got)
	}
}

func TestPinsAreReadAtEachDial(t *testing.T) {
	var b *bench
	b = newBench(t, accepting(&b, (*peer).drainReads))
	good := b.pins
	sum := sha256.Sum256([]byte("another key"))
	b.pins = []string{"sha256:" + base64.StdEncoding.EncodeToString(sum[:])}
	b.run()
	b.until(b.client.idle.Load, "the first failure")
	if b.logs.lines("none of the keys that this machine was told to expect") != 1 {
		t.Errorf("log:\n%s", b.logs)
	}
	b.pins = good
	b.passIdle()
	await(t, b.handler.connected, "the session")
}

func TestWrongOptionsAreRefused(t *testing.T) {
	for _, url := range []string{"", "http://gateway", "gateway:443", "https://"} {
		if _, err := New(Options{URL: url}); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%q", url)) {
			t.Errorf("URL %q: error is %v", url, err)
		}
	}
	if _, err := New(Options{URL: "https://gateway"}); err == nil {
		t.Error("a client without a key was made")
	}
}
