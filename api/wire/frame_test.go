package wire_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/restic-manager/restic-manager/api/wire"
)

func TestAFrameIsReadIntoTheSameMemory(t *testing.T) {
	var buffer []byte
	for _, size := range []int{0, 1, 100, 4096, 8192, 100_000, 7, 100_000} {
		want := strings.Repeat("x", size)
		got, err := wire.ReadFrame(iotest.HalfReader(strings.NewReader(want)), buffer)
		if err != nil || string(got) != want {
			t.Errorf("of %d bytes %d came, %v", size, len(got), err)
		}
		buffer = got
	}
	large := make([]byte, 100_000)
	if n := testing.AllocsPerRun(10, func() { buffer, _ = wire.ReadFrame(bytes.NewReader(large), buffer) }); n > 1 { // the reader itself
		t.Errorf("%v allocations for a frame for which there is room", n)
	}
}

func TestAFrameThatBreaksOffIsAnError(t *testing.T) {
	if _, err := wire.ReadFrame(iotest.TimeoutReader(iotest.OneByteReader(strings.NewReader("frame"))), nil); !errors.Is(err, iotest.ErrTimeout) {
		t.Errorf("got %v", err)
	}
}
