package restic

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

const cutMark = " … (line cut)"

// readLines calls each for every line until the reader ends, without its line break. A line longer than limit is cut there and marked;
// what follows is read and thrown away, so that the writer never blocks. The slice is valid during the call only.
func readLines(r io.Reader, limit int, each func(line []byte)) {
	reader := bufio.NewReaderSize(r, 64<<10)
	var line []byte
	cut := false
	for {
		chunk, err := reader.ReadSlice('\n')
		complete := err == nil
		chunk = bytes.TrimSuffix(chunk, []byte("\n"))
		if room := limit - len(line); len(chunk) > room {
			chunk, cut = chunk[:max(room, 0)], true
		}
		line = append(line, chunk...)
		ended := err != nil && !errors.Is(err, bufio.ErrBufferFull)
		if complete || ended && len(line) > 0 {
			if cut {
				line = append(line, cutMark...)
			}
			each(bytes.TrimSpace(line))
			cut = false
			// One long line should not pin its memory for the rest of a run.
			if cap(line) > 256<<10 {
				line = nil
			}
			line = line[:0]
		}
		if ended {
			return
		}
	}
}
