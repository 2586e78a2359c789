package pack

import (
	"bytes"
	"crypto/rand"
	"strings"
	"testing"

	"github.com/klauspost/compress/s2"

	"github.com/restic-manager/restic-manager/api/wire"
)

func TestWhatIsPackedComesBack(t *testing.T) {
	random := make([]byte, 4096)
	if _, err := rand.Read(random); err != nil {
		t.Fatal(err)
	}
	var packer Packer
	var unpacker Unpacker
	for name, test := range map[string]struct {
		chunk   []byte
		smaller bool
	}{
		"nothing":              {nil, false},
		"a short line":         {[]byte("Dshort\n"), false},
		"what does not shrink": {append([]byte{'D'}, random...), false},
		"a log":                {[]byte("D" + strings.Repeat("2026-03-01T01:30:00.000Z unchanged /etc/hosts\n", 1000)), true},
		"a full chunk":         {append([]byte{'R'}, bytes.Repeat([]byte("x"), wire.MaxUnpacked-1)...), true},
	} {
		t.Run(name, func(t *testing.T) {
			packed := packer.Pack(test.chunk)
			if got := len(packed) < len(test.chunk); got != test.smaller {
				t.Errorf("%d bytes became %d", len(test.chunk), len(packed))
			}
			got, err := unpacker.Unpack(packed)
			if err != nil || !bytes.Equal(got, test.chunk) {
				t.Errorf("%d bytes of %d came back, %v", len(got), len(test.chunk), err)
			}
		})
	}
}

func TestWhatIsNoPackedChunkIsRefused(t *testing.T) {
	packed := func(content []byte) []byte { return append([]byte{byte(wire.ChunkPacked)}, s2.Encode(nil, content)...) }
	for name, chunk := range map[string][]byte{
		"garbage":                 append([]byte{byte(wire.ChunkPacked)}, "garbage"...),
		"nothing behind the kind": {byte(wire.ChunkPacked)},
		"more than a chunk":       packed(make([]byte, wire.MaxUnpacked+1)),
		"a cut one":               packed(bytes.Repeat([]byte("x"), 4096))[:8],
		"one in another":          packed(packed(bytes.Repeat([]byte("x"), 4096))),
	} {
		if got, err := new(Unpacker).Unpack(chunk); err == nil {
			t.Errorf("%s: %d bytes come out", name, len(got))
		}
	}
}

// BenchmarkPack tells the price in CPU, for a log.
func BenchmarkPack(b *testing.B) {
	chunk := []byte("D" + strings.Repeat("2026-03-01T01:30:00.000Z new       /srv/data/folder-0042/file-004217.dat, saved in 0.217s (130727 B added)\n", 1000))
	b.SetBytes(int64(len(chunk)))
	var packer Packer
	for b.Loop() {
		packer.Pack(chunk)
	}
}
