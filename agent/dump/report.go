package dump

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
)

// outcome says how a command ended.
type outcome string

const (
	done       outcome = "Done"
	empty      outcome = "Empty"
	failed     outcome = "Failed"
	notStarted outcome = "NotStarted"
	stopped    outcome = "Stopped"
)

// reporter tells what the command says and how it ended.
type reporter struct {
	mu   sync.Mutex
	w    io.Writer
	json bool
}

func newReporter(descriptor int) *reporter {
	if descriptor == 0 {
		return &reporter{w: os.Stderr}
	}
	return &reporter{w: os.NewFile(uintptr(descriptor), "report"), json: true}
}

func (r *reporter) line(text string) {
	r.write(struct {
		Line string `json:"line"`
	}{text}, text)
}

func (r *reporter) end(how outcome, message string) {
	text := ""
	if how != done {
		text = "dump: " + message
	}
	r.write(struct {
		Outcome outcome `json:"outcome"`
		Message string  `json:"message"`
	}{how, message}, text)
}

// write tells it, if anybody still listens.
func (r *reporter) write(value any, text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.json {
		_ = json.NewEncoder(r.w).Encode(value)
	} else if text != "" {
		fmt.Fprintln(r.w, text)
	}
}

// lines reports each line of the command's stderr until it ends. What a line has beyond MaxLine is thrown away, so that the command is never blocked.
func (r *reporter) lines(from io.Reader) {
	reader := bufio.NewReaderSize(from, MaxLine)
	for {
		chunk, err := reader.ReadSlice('\n')
		text := strings.TrimSpace(string(chunk))
		for err == bufio.ErrBufferFull {
			_, err = reader.ReadSlice('\n')
			if err != bufio.ErrBufferFull {
				text += " … (line cut)"
			}
		}
		if text != "" {
			r.line(text)
		}
		if err != nil {
			return
		}
	}
}
