package drill

import (
	"math"
	"math/rand/v2"

	"github.com/restic-manager/restic-manager/agent/restic"
)

// sample draws files from a stream: each that may be drawn with the same chance, and no more in memory than are wanted.
type sample struct {
	want int
	room uint64
	rand *rand.Rand

	// files were seen in all, eligible of them may be drawn, tooLarge are over room.
	files, eligible, tooLarge int64
	kept                      []restic.Node
	// smallest of those that are too large.
	smallest *restic.Node
}

func newSample(want int, room int64, r *rand.Rand) *sample {
	return &sample{want: want, room: uint64(max(room, 0)), rand: r}
}

func (s *sample) see(n restic.Node) {
	if n.Type != "file" {
		return
	}
	s.files++
	switch {
	case n.Inexact:
		return // nobody can tell restic its name
	case n.Size > s.room:
		s.tooLarge++
		if s.smallest == nil || n.Size < s.smallest.Size {
			s.smallest = &n
		}
		return
	}
	s.eligible++
	if len(s.kept) < s.want {
		s.kept = append(s.kept, n)
	} else if i := s.rand.Int64N(s.eligible); i < int64(s.want) {
		s.kept[i] = n
	}
}

// draw returns the sample, without those for which there is no room beside the others.
func (s *sample) draw() []restic.Node {
	s.rand.Shuffle(len(s.kept), func(i, j int) { s.kept[i], s.kept[j] = s.kept[j], s.kept[i] })
	left := s.room
	var out []restic.Node
	for _, n := range s.kept {
		if n.Size <= left {
			out = append(out, n)
			left -= n.Size
		}
	}
	return out
}

func bytesOf(n restic.Node) int64 { return int64(min(n.Size, math.MaxInt64)) }
