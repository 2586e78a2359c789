package stream

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/restic-manager/restic-manager/api/wire"
)

// link keeps what is sent to the agent.
type link struct {
	mu   sync.Mutex
	sent []wire.Message
	err  error
}

func (l *link) Send(m wire.Message) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.sent = append(l.sent, m)
	}
	return l.err
}

// messages are those that were sent since the last call.
func (l *link) messages() []wire.Message {
	l.mu.Lock()
	defer l.mu.Unlock()
	sent := l.sent
	l.sent = nil
	return sent
}

func opened(t *testing.T) (*link, *Table, *Stream) {
	t.Helper()
	l := &link{}
	table := NewTable(l)
	s, err := table.Open()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start("query", []wire.Signature{{KeyID: "k", Value: make([]byte, 64)}}); err != nil {
		t.Fatal(err)
	}
	return l, table, s
}

func expectSent(t *testing.T, l *link, want ...wire.Message) {
	t.Helper()
	if diff := cmp.Diff(want, l.messages()); diff != "" {
		t.Errorf("sent to the agent (-want +got):\n%s", diff)
	}
}

func expectEnd(t *testing.T, s *Stream, want End) {
	t.Helper()
	if chunk, err := s.Next(t.Context()); err != error(want) {
		t.Errorf("the next chunk is %q, %v; want the end %v", chunk, err, want)
	}
}

func TestAnAnswerArrivesInOrderAndThenEnds(t *testing.T) {
	l, table, s := opened(t)
	open, ok := l.messages()[0].(*wire.StreamOpen)
	if !ok || open.Query != "query" || len(open.Signatures) != 1 || open.Credit != wire.StreamWindow || open.Stream != s.number {
		t.Fatalf("the agent was sent %+v", open)
	}
	for _, chunk := range []string{"opening", "x", "the last"} {
		table.Data(s.number, []byte(chunk))
	}
	table.Closed(&wire.StreamClose{Stream: s.number})
	for _, want := range []string{"opening", "x", "the last"} {
		chunk, err := s.Next(t.Context())
		if err != nil || string(chunk) != want {
			t.Fatalf("got %q, %v; want %q", chunk, err, want)
		}
		s.Taken(chunk)
	}
	expectEnd(t, s, Done)
	s.Close()
	expectSent(t, l) // the agent knows
}

func TestNextWaits(t *testing.T) {
	_, table, s := opened(t)
	chunks := make(chan string)
	go func() {
		for {
			chunk, err := s.Next(t.Context())
			if err != nil {
				close(chunks)
				return
			}
			chunks <- string(chunk)
		}
	}()
	for _, want := range []string{"a", "b", "c"} {
		table.Data(s.number, []byte(want))
		if got := <-chunks; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	table.End()
	if chunk, more := <-chunks; more {
		t.Errorf("got %q after the end", chunk)
	}
}

func TestHowAStreamEnds(t *testing.T) {
	for _, test := range []struct {
		name string
		end  func(*Table, *Stream)
		want End
		// told: the agent gets a stream.close when the collector leaves after that.
		told bool
	}{
		{"the agent is done", func(table *Table, s *Stream) { table.Closed(&wire.StreamClose{Stream: s.number}) }, Done, false},
		{"the agent refuses the query", func(table *Table, s *Stream) {
			table.Closed(&wire.StreamClose{Stream: s.number, Reason: wire.RefusalExpired})
		},
			End{wire.StreamRefused, wire.RefusalExpired}, false},
		{"the session is over", func(table *Table, _ *Stream) { table.End() }, Lost, false},
		{"the session is over after the agent was done", func(table *Table, s *Stream) {
			table.Closed(&wire.StreamClose{Stream: s.number})
			table.End()
		}, Done, false},
		{"the collector leaves", func(_ *Table, s *Stream) { s.Close() }, Lost, true},
		{"the agent sends more than its credit", func(table *Table, s *Stream) {
			for range wire.StreamWindow/wire.MaxChunk + 1 {
				table.Data(s.number, make([]byte, wire.MaxChunk))
			}
		}, Lost, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			l, table, s := opened(t)
			l.messages()
			test.end(table, s)
			expectEnd(t, s, test.want)
			s.Close()
			var want []wire.Message
			if test.told {
				want = append(want, &wire.StreamClose{Stream: s.number})
			}
			expectSent(t, l, want...)
			table.Data(s.number, []byte("late"))
			expectEnd(t, s, test.want)
		})
	}
}

func TestAContextEndsTheWaiting(t *testing.T) {
	for cause, want := range map[error]End{Expired: Expired, errors.New("any other"): Lost} {
		_, table, s := opened(t)
		table.Data(s.number, []byte("not taken any more"))
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(cause)
		if _, err := s.Next(ctx); err != error(want) {
			t.Errorf("after %v: %v, want %v", cause, err, want)
		}
	}
}

func TestCreditIsGrantedInStepsForWhatWasTaken(t *testing.T) {
	l, table, s := opened(t)
	l.messages()
	chunk := make([]byte, wire.MaxChunk)
	granted := int64(0)
	const chunks = 1000
	for range chunks {
		table.Data(s.number, chunk)
		got, err := s.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		s.Taken(got)
	}
	grants := l.messages()
	for _, m := range grants {
		grant, ok := m.(*wire.StreamCredit)
		if !ok || grant.Validate() != nil {
			t.Fatalf("the agent was sent %+v", m)
		}
		granted += grant.Bytes
	}
	if all := chunks * charge(chunk); granted > all || granted < all-step {
		t.Errorf("granted %d of %d bytes", granted, all)
	}
	if len(grants) > chunks/2 {
		t.Errorf("%d grants for %d chunks", len(grants), chunks)
	}
}

func TestACollectorThatTakesNothingCostsTheWindow(t *testing.T) {
	for _, size := range []int{1, 100, wire.MaxChunk} {
		_, table, s := opened(t)
		sent := int64(0)
		for chunk := make([]byte, size); sent+charge(chunk) <= wire.StreamWindow; sent += charge(chunk) {
			table.Data(s.number, chunk)
		}
		if s.end != nil {
			t.Fatalf("chunks of %d bytes: ended within the credit", size)
		}
		if int64(s.held.held) != sent || len(s.held.blocks)*blockSize > 3*wire.StreamWindow {
			t.Errorf("chunks of %d bytes: %d bytes were sent, %d are held in %d", size, sent, s.held.held, len(s.held.blocks)*blockSize)
		}
		s.Close()
		if len(s.held.blocks) != 0 {
			t.Errorf("chunks of %d bytes: %d bytes are held after the end", size, len(s.held.blocks)*blockSize)
		}
	}
}

func TestChunksAreNotSharedWithTheReader(t *testing.T) {
	_, table, s := opened(t)
	frame := []byte("chunk")
	table.Data(s.number, frame)
	copy(frame, "XXXXX")
	chunk, err := s.Next(t.Context())
	if err != nil || string(chunk) != "chunk" {
		t.Errorf("got %q, %v", chunk, err)
	}
	table.Data(s.number, bytes.Repeat([]byte("y"), 1000))
	if string(chunk) != "chunk" {
		t.Errorf("it became %q", chunk)
	}
}

func TestASessionHasAFewStreams(t *testing.T) {
	table := NewTable(&link{})
	var open []*Stream
	for range MaxOpen {
		s, err := table.Open()
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, s)
	}
	if _, err := table.Open(); !errors.Is(err, ErrTooMany) {
		t.Errorf("one more: %v", err)
	}
	open[0].Close()
	s, err := table.Open()
	if err != nil {
		t.Fatal(err)
	}
	for _, other := range open {
		if s.number == other.number {
			t.Errorf("number %d is given twice in a session", s.number)
		}
	}
	table.End()
	if _, err := table.Open(); !errors.Is(err, ErrEnded) {
		t.Errorf("after the session: %v", err)
	}
}

func TestWhatIsOfNoStreamIsIgnored(t *testing.T) {
	l, table, s := opened(t)
	l.messages()
	table.Data(s.number+1, make([]byte, wire.MaxChunk))
	table.Closed(&wire.StreamClose{Stream: s.number + 1})
	table.Data(s.number, []byte("goes on"))
	if chunk, err := s.Next(t.Context()); string(chunk) != "goes on" || err != nil {
		t.Errorf("got %q, %v", chunk, err)
	}
	expectSent(t, l)
}

func TestAStreamThatGetsNoCreditIsLost(t *testing.T) {
	l, table, s := opened(t)
	l.err = errors.New("the agent reads too slowly")
	for range step/wire.MaxChunk + 1 {
		table.Data(s.number, make([]byte, wire.MaxChunk))
	}
	for range step / wire.MaxChunk {
		chunk, err := s.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		s.Taken(chunk)
	}
	expectEnd(t, s, Lost)
}

func TestTheTextOfAnEndIsReadBack(t *testing.T) {
	for _, end := range []End{Done, Lost, Expired, {wire.StreamRefused, wire.RefusalNotAllowed}, {Reason: wire.StreamRefused}} {
		if got := ParseEnd(end.Text()); got != end {
			t.Errorf("%v became %v", end, got)
		}
	}
	for _, text := range []string{"", "something else", "done."} {
		if got := ParseEnd(text); got != Lost {
			t.Errorf("%q is %v", text, got)
		}
	}
	long := End{wire.StreamRefused, wire.RefusalReason(strings.Repeat("é", 200))}
	if text := long.Text(); len(text) > maxText {
		t.Errorf("a close frame with %d bytes", len(text))
	}
}
