package terminal

import (
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/cli-runtime/pkg/printers"
)

// Terminal is the three streams of a command and what is known of them.
type Terminal struct {
	genericiooptions.IOStreams
	// Interactive: a person reads Out. Answers: a person can be asked. Colour: Out shows colours.
	Interactive, Answers, Colour bool
	// Width of Out in columns; 0 for no limit.
	Width func() int
	// Interrupts is what Ctrl-C means.
	Interrupts *Interrupts
}

// New looks at the streams.
func New(streams genericiooptions.IOStreams, interrupts *Interrupts) *Terminal {
	t := &Terminal{IOStreams: streams, Width: func() int { return 0 }, Interrupts: interrupts}
	if out, is := streams.Out.(*os.File); is && term.IsTerminal(int(out.Fd())) {
		t.Interactive = true
		t.Colour = printers.AllowsColorOutput(streams.Out)
		t.Width = func() int {
			width, _, err := term.GetSize(int(out.Fd()))
			if err != nil {
				return 0
			}
			return width
		}
	}
	in, is := streams.In.(*os.File)
	t.Answers = is && term.IsTerminal(int(in.Fd())) && isTerminal(streams.ErrOut)
	return t
}

func isTerminal(w io.Writer) bool {
	f, is := w.(*os.File)
	return is && term.IsTerminal(int(f.Fd()))
}

// Printf writes to Out.
func (t *Terminal) Printf(format string, args ...any) {
	_, _ = fmt.Fprintf(t.Out, format, args...)
}

// Notef writes a sentence beside the output, to ErrOut.
func (t *Terminal) Notef(format string, args ...any) {
	_, _ = fmt.Fprintf(t.ErrOut, format+"\n", args...)
}

// Text is Out for text that a machine had a part in.
func (t *Terminal) Text() io.Writer {
	if t.Interactive {
		return harmless{t.Out}
	}
	return t.Out
}

// harmless shows control characters as carets, but for line feeds and tabs.
type harmless struct{ to io.Writer }

func (h harmless) Write(p []byte) (int, error) {
	if _, err := io.WriteString(h.to, Harmless(string(p))); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Harmless is a text without control characters but line feeds and tabs.
func Harmless(text string) string {
	if !strings.ContainsFunc(text, control) {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		switch {
		case r == '\r':
			// restic's own progress lines
		case !control(r):
			b.WriteRune(r)
		case r < 0x20:
			b.WriteByte('^')
			b.WriteRune(r + 0x40)
		default:
			fmt.Fprintf(&b, "<%02x>", r)
		}
	}
	return b.String()
}

func control(r rune) bool {
	return r < 0x20 && r != '\n' && r != '\t' || r >= 0x7f && r < 0xa0
}

// OneLine is Harmless for a cell of a table.
func OneLine(text string) string {
	return strings.Join(strings.Fields(Harmless(text)), " ")
}
