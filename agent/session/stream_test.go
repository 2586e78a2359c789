package session

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/restic-manager/restic-manager/api/wire"
)

// frames passes on what the peer reads: text frames as messages, binary ones as their size.
func frames(p *peer, texts chan<- wire.Message, data chan<- []byte) {
	for {
		kind, frame, err := p.conn.Read(context.Background())
		if err != nil {
			return
		}
		if kind == websocket.MessageBinary {
			data <- frame
			continue
		}
		if envelope, err := wire.Decode(frame); err == nil {
			if m, err := envelope.Open(); err == nil {
				texts <- m
			}
		}
	}
}

func open(stream uint32) *wire.StreamOpen {
	return &wire.StreamOpen{Stream: stream, Query: "{}", Credit: wire.StreamWindow}
}

func TestAStreamCarriesDataAndThenItsEnd(t *testing.T) {
	texts, data := make(chan wire.Message, 10), make(chan []byte, 10)
	var b *bench
	b = newBench(t, accepting(&b, func(p *peer) {
		p.send(open(7))
		p.send(&wire.StreamCredit{Stream: 7, Bytes: 100})
		p.send(&wire.StreamClose{Stream: 7})
		frames(p, texts, data)
	}))
	b.run()
	s := await(t, b.handler.streams, "the stream")
	for _, want := range []wire.Type{wire.TypeStreamOpen, wire.TypeStreamCredit, wire.TypeStreamClose} {
		if m := await(t, b.handler.messages, "a message"); m.MessageType() != want {
			t.Errorf("the handler got %s, want %s", m.MessageType(), want)
		}
	}
	frame := wire.EncodeData(7, []byte("chunk"))
	if err := s.Data(t.Context(), frame); err != nil {
		t.Fatal(err)
	}
	if err := s.Finish(t.Context(), &wire.StreamClose{Stream: 7}); err != nil {
		t.Fatal(err)
	}
	if got := await(t, data, "the data"); !bytes.Equal(got, frame) {
		t.Errorf("%q came", got)
	}
	if m, ok := await(t, texts, "the end").(*wire.StreamClose); !ok || m.Stream != 7 {
		t.Errorf("the end is %+v", m)
	}
	s.Refuse(&wire.StreamClose{Stream: 8, Reason: wire.RefusalInvalid})
	if m, ok := await(t, texts, "the refusal").(*wire.StreamClose); !ok || m.Reason != wire.RefusalInvalid {
		t.Errorf("the refusal is %+v", m)
	}
	b.cancel()
	await(t, b.handler.disconnected, "the end of the session")
	if err := s.Data(t.Context(), frame); !errors.Is(err, ErrNotConnected) {
		t.Errorf("after the session: %v", err)
	}
}

func TestDataStarvesNeitherHeartbeatsNorMessages(t *testing.T) {
	texts, data := make(chan wire.Message, 100), make(chan []byte)
	var b *bench
	b = newBench(t, accepting(&b, func(p *peer) {
		p.send(open(1))
		go func() {
			for range data { // as fast as it comes
			}
		}()
		frames(p, texts, data)
	}))
	b.run()
	s := await(t, b.handler.streams, "the stream")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for range 3 {
		go func() {
			for frame := wire.EncodeData(1, make([]byte, wire.MaxChunk)); s.Data(ctx, frame) == nil; {
			}
		}()
	}
	b.clock.BlockUntil(2) // heartbeat and watchdog
	for i := range 20 {
		if err := b.client.Send(&wire.SetAck{Revision: fmt.Sprint(i), Applied: true}); err != nil {
			t.Fatal(err)
		}
		for {
			if m, ok := await(t, texts, "a message in between").(*wire.SetAck); ok {
				if m.Revision != fmt.Sprint(i) {
					t.Errorf("message %s came instead of %d", m.Revision, i)
				}
				break
			}
		}
	}
	b.clock.Advance(30 * time.Second)
	if m := await(t, texts, "a heartbeat in between"); m.MessageType() != wire.TypeHeartbeat {
		t.Errorf("%s came", m.MessageType())
	}
}

func TestAStreamWaitsForAGatewayThatDoesNotReadAndForNothingElse(t *testing.T) {
	release := make(chan struct{})
	var b *bench
	b = newBench(t, accepting(&b, func(p *peer) {
		p.send(open(1))
		<-release
	}))
	b.run()
	s := await(t, b.handler.streams, "the stream")
	full := errors.New("full")
	ctx, cancel := context.WithCancelCause(t.Context())
	sent := make(chan int, 1)
	go func() {
		n := 0
		for frame := wire.EncodeData(1, make([]byte, wire.MaxChunk)); s.Data(ctx, frame) == nil; n++ {
		}
		sent <- n
	}()
	// Nothing tells that the writer is stuck but that its queue fills up.
	b.until(func() bool { return errors.Is(b.client.Send(&wire.SetAck{Revision: "r", Applied: true}), ErrQueueFull) }, "the gateway's buffers are full")
	cancel(full)
	if n := await(t, sent, "the end of the sender"); n > 1000 {
		t.Errorf("%d chunks went into the void", n)
	}
	if err := s.Data(ctx, nil); !errors.Is(err, full) {
		t.Errorf("a sender that is cancelled: %v", err)
	}
	close(release)
}
