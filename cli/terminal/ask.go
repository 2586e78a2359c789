package terminal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
)

// ErrNobodyToAsk is returned where a question needs a person and there is none.
var ErrNobodyToAsk = errors.New("there is no terminal to ask on: --yes answers the question in advance")

// Confirm asks a question; only a typed yes is one.
func (t *Terminal) Confirm(ctx context.Context, question string) (bool, error) {
	if !t.Answers {
		return false, ErrNobodyToAsk
	}
	answer, err := t.ask(ctx, question+" [y/N] ")
	if err != nil {
		return false, err
	}
	switch strings.ToLower(answer) {
	case "y", "yes":
		return true, nil
	}
	return false, nil
}

// Choose asks for one of the letters; the first is meant by an empty answer.
func (t *Terminal) Choose(ctx context.Context, question, letters string) (byte, error) {
	if !t.Answers {
		return 0, ErrNobodyToAsk
	}
	for {
		answer, err := t.ask(ctx, question)
		if err != nil {
			return 0, err
		}
		if answer == "" {
			return letters[0], nil
		}
		if first := strings.ToLower(answer)[0]; strings.IndexByte(letters, first) >= 0 {
			return first, nil
		}
	}
}

// ask reads one line, byte by byte: what follows it is for whoever reads next.
func (t *Terminal) ask(ctx context.Context, question string) (string, error) {
	_, _ = fmt.Fprint(t.ErrOut, question)
	type result struct {
		line string
		err  error
	}
	done := make(chan result, 1)
	go func() {
		var line []byte
		for one := make([]byte, 1); ; {
			n, err := t.In.Read(one)
			switch {
			case n == 1 && one[0] == '\n':
				done <- result{line: string(line)}
				return
			case n == 1:
				line = append(line, one[0])
			case errors.Is(err, io.EOF):
				done <- result{err: errors.New("no answer was given")}
				return
			case err != nil:
				done <- result{err: err}
				return
			}
		}
	}()
	select {
	case <-ctx.Done():
		return "", ctx.Err()
	case r := <-done:
		return strings.TrimSpace(r.line), r.err
	}
}
