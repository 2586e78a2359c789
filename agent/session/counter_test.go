package session

import (
	"errors"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/restic-manager/restic-manager/api/wire"
)

// numbered is a bench whose gateway tells the session of each hello, and then answers it.
func numbered(t *testing.T, answer func(*peer)) (*bench, <-chan int64) {
	sessions := make(chan int64, 10)
	var b *bench
	b = newBench(t, func(p *peer) {
		if !p.challenge(b.key, "127.0.0.1") {
			return
		}
		sessions <- p.body.Session
		answer(p)
		p.drainReads()
	})
	return b, sessions
}

func TestAStaleCounterContinuesFromTheRecord(t *testing.T) {
	b, sessions := numbered(t, func(p *peer) {
		if p.body.Session <= 700 {
			p.send(&wire.Error{Code: wire.CodeStaleSession, Message: "stale", Session: 700})
		} else {
			p.welcome()
		}
	})
	b.run()
	if n := await(t, sessions, "the first hello"); n != 1 {
		t.Errorf("first session is %d, want 1", n)
	}
	b.passIdle()
	if n := await(t, sessions, "the second hello"); n != 701 {
		t.Errorf("second session is %d, want 701", n)
	}
	await(t, b.handler.connected, "the session")
	again, err := OpenCounter(b.counter)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := again.Next(); err != nil || n != 702 {
		t.Errorf("after a restart the counter gives %d, %v; want 702", n, err)
	}
}

func TestADiskThatWentBackIsSettledBeforeTheNextDial(t *testing.T) {
	for _, tt := range []struct {
		name           string
		onRecord, then int64
		wentBack       bool
	}{
		{"the record is ahead", 7, 8, true},
		{"the record is equal: the number of this dial is another future's", 1, 2, true},
		{"the record is behind: the gateway errs", 0, 2, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, sessions := numbered(t, func(p *peer) {
				if p.body.Session > 1 {
					p.welcome()
				} else {
					p.send(&wire.Error{Code: wire.CodeStaleSession, Message: "stale", Session: tt.onRecord})
				}
			})
			var asked atomic.Int32
			b.handler.wentBack = func() error {
				if asked.Add(1) == 1 {
					return errors.New("no space left on device")
				}
				return nil
			}
			b.run()
			if n := await(t, sessions, "the first hello"); n != 1 {
				t.Fatalf("first session is %d, want 1", n)
			}
			b.passIdle()
			want := int32(0)
			if tt.wentBack {
				want = 2
				b.until(func() bool { return b.logs.lines("went back in time") == 1 && b.client.idle.Load() }, "the failure to settle it")
				if len(sessions) != 0 {
					t.Error("the agent dialled before it was settled")
				}
				b.passIdle()
			}
			if n := await(t, sessions, "the second hello"); n != tt.then {
				t.Errorf("the second session is %d, want %d", n, tt.then)
			}
			await(t, b.handler.connected, "the session")
			if n := asked.Load(); n != want {
				t.Errorf("the handler was told %d times, want %d", n, want)
			}
		})
	}
}

func TestACounterBeyondBeliefIsNotBelieved(t *testing.T) {
	c, err := OpenCounter(t.TempDir() + "/session.json")
	if err != nil {
		t.Fatal(err)
	}
	c.Raise(1<<63 - 1)
	c.Raise(maxCounter - 1)
	c.Raise(-5)
	if n, err := c.Next(); err != nil || n != 1 {
		t.Errorf("next is %d, %v; want 1", n, err)
	}
}

func TestTheGreatestBelievedCounterLeavesRoomToCountOn(t *testing.T) {
	path := t.TempDir() + "/session.json"
	c, err := OpenCounter(path)
	if err != nil {
		t.Fatal(err)
	}
	c.Raise(maxRaise)
	for range 3 {
		if _, err := c.Next(); err != nil {
			t.Fatal(err)
		}
	}
	again, err := OpenCounter(path)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := again.Next(); err != nil || n != maxRaise+4 {
		t.Errorf("after a restart the counter gives %d, %v; want %d", n, err, int64(maxRaise+4))
	}
}

func TestADamagedCounterStartsAnewAndSaysSo(t *testing.T) {
	path := t.TempDir() + "/session.json"
	if err := os.WriteFile(path, []byte("\x00\x00"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := OpenCounter(path)
	if err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("error is %v", err)
	}
	if n, err := c.Next(); err != nil || n != 1 {
		t.Errorf("next is %d, %v; want 1", n, err)
	}
}

func TestTheCounterIsOnDiskBeforeTheDial(t *testing.T) {
	var b *bench
	stored := make(chan string, 1)
	b = newBenchHTTP(t, func(w http.ResponseWriter, _ *http.Request) {
		raw, _ := os.ReadFile(b.counter)
		stored <- string(raw)
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	b.run()
	if got := await(t, stored, "the dial"); got != `{"session":1}` {
		t.Errorf("on disk during the first dial: %q", got)
	}
}

func TestWithoutADiskThereIsNoDial(t *testing.T) {
	dialled := make(chan struct{}, 1)
	b := newBenchHTTP(t, func(http.ResponseWriter, *http.Request) { dialled <- struct{}{} })
	if err := os.Mkdir(b.counter, 0o700); err != nil {
		t.Fatal(err)
	}
	b.run()
	b.passIdle()
	b.passIdle()
	if len(dialled) != 0 {
		t.Error("the gateway was dialled with a counter that is not durable")
	}
	if n := b.logs.lines("session counter"); n != 1 {
		t.Errorf("logged %d times, want once:\n%s", n, b.logs)
	}
}
