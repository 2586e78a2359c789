package gather

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"testing"
)

// sink counts writes.
type sink struct {
	net.Conn
	bytes.Buffer
	writes int
	err    error
}

func (s *sink) Write(p []byte) (int, error) {
	s.writes++
	if s.err != nil {
		return 0, s.err
	}
	return s.Buffer.Write(p)
}

func (s *sink) Read(p []byte) (int, error) { return s.Buffer.Read(p) }

func TestWhatIsWrittenTogetherGoesOutInOrderAndInLargePieces(t *testing.T) {
	for name, test := range map[string]struct {
		sizes  []int
		writes int
	}{
		"nothing but a header":         {[]int{10}, 1},
		"steps of a frame":             {[]int{10, 4096, 4096, 4096, 100}, 1},
		"more than is gathered":        {[]int{most - 1, 1, 1}, 2},
		"a piece that is large itself": {[]int{5, most + 1, 5}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			s := &sink{}
			c := New(s)
			var want []byte
			err := c.Together(t.Context(), func() error {
				for i, size := range test.sizes {
					piece := bytes.Repeat([]byte{byte('a' + i)}, size)
					want = append(want, piece...)
					if n, err := c.Write(piece); n != size || err != nil {
						t.Errorf("%d of %d bytes, %v", n, size, err)
					}
				}
				return nil
			})
			if err != nil || !bytes.Equal(s.Bytes(), want) || s.writes != test.writes {
				t.Errorf("%d bytes of %d in %d writes, want %d; %v", s.Len(), len(want), s.writes, test.writes, err)
			}
			if c.held != nil {
				t.Error("it holds memory afterwards")
			}
		})
	}
}

func TestOtherWritesGoOutAtOnce(t *testing.T) {
	s := &sink{}
	c := New(s)
	_, _ = io.WriteString(c, "a")
	_, _ = io.WriteString(c, "b")
	if s.writes != 2 || s.String() != "ab" {
		t.Errorf("%q in %d writes", s, s.writes)
	}
}

func TestErrorsAreTold(t *testing.T) {
	broken, refused := errors.New("broken"), errors.New("refused")
	c := New(&sink{err: broken})
	write := func() error { _, err := io.WriteString(c, "x"); return err }
	if err := c.Together(t.Context(), write); !errors.Is(err, broken) {
		t.Errorf("a connection that is gone: %v", err)
	}
	if err := c.Together(t.Context(), func() error { return refused }); !errors.Is(err, refused) {
		t.Errorf("a write that fails: %v", err)
	}
	if err := (*Conn)(nil).Together(t.Context(), func() error { return refused }); !errors.Is(err, refused) {
		t.Errorf("without a connection: %v", err)
	}
}

func TestAPeerThatDoesNotReadHoldsNobodyBeyondTheContext(t *testing.T) {
	near, far := net.Pipe()
	defer far.Close()
	c := New(near)
	ctx, cancel := context.WithCancel(t.Context())
	err := c.Together(ctx, func() error {
		_, err := io.WriteString(c, "x")
		cancel() // nobody reads what is sent next
		return err
	})
	if err == nil {
		t.Error("it was sent")
	}
}
