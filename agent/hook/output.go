package hook

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

const cutMark = " … (line cut)"

// output passes lines on, within bounds. It is used by one goroutine; last may be read when that has ended.
type output struct {
	to    func(string)
	lines int
	// last is the newest line that is not empty.
	last string
}

// read goes on to the end of the pipe whatever comes, so that the writer never blocks.
func (o *output) read(r io.Reader) {
	reader := bufio.NewReaderSize(r, 32<<10)
	line, tooLong := make([]byte, 0, 256), false
	for {
		chunk, err := reader.ReadSlice('\n')
		complete := err == nil
		if room := MaxLine - len(line); len(chunk) > room {
			tooLong = tooLong || len(strings.TrimRight(string(chunk[room:]), "\r\n")) > 0
			chunk = chunk[:room]
		}
		line = append(line, chunk...)
		ended := err != nil && !errors.Is(err, bufio.ErrBufferFull)
		if complete || ended && len(line) > 0 {
			o.line(line, tooLong)
			line, tooLong = line[:0], false
		}
		if ended {
			return
		}
	}
}

func (o *output) line(raw []byte, tooLong bool) {
	text := clean(strings.TrimRight(string(raw), "\r\n"))
	if tooLong {
		text += cutMark
	}
	if strings.TrimSpace(text) != "" {
		o.last = strings.TrimSpace(text)
	}
	o.lines++
	switch {
	case o.to == nil:
	case o.lines <= MaxLines:
		o.to(text)
	case o.lines == MaxLines+1:
		o.to(fmt.Sprintf("(this hook printed more than %d lines; the rest is left out)", MaxLines))
	}
}

// clean replaces what would disturb a log: bytes that are not UTF-8, and control characters but for the tab.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\t' {
			return utf8.RuneError
		}
		return r
	}, strings.ToValidUTF8(text, string(utf8.RuneError)))
}
