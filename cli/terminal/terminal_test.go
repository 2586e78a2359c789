package terminal

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"k8s.io/cli-runtime/pkg/genericiooptions"
)

// on returns a terminal of a width, as a person has it, and what is written on it.
func on(width int, answers string) (*Terminal, *bytes.Buffer) {
	var out bytes.Buffer
	t := New(genericiooptions.IOStreams{In: strings.NewReader(answers), Out: &out, ErrOut: &out}, nil)
	t.Interactive, t.Answers, t.Width = true, true, func() int { return width }
	return t, &out
}

var animals = Table{
	Columns: []Column{{Name: "Name"}, {Name: "Legs", Right: true, GiveUp: 1}, {Name: "Home", GiveUp: 2}, {Name: "Latin", Wide: true}, {Name: "What it says"}},
	Rows: [][]Cell{
		Cells("cat", "4", "house", "felis catus", "miaow, when it wants to be let in, and again when it wants to be let out"),
		Cells("blackbird", "2", "garden", "turdus merula", "tsink"),
	},
}

func TestATableFitsTheWidth(t *testing.T) {
	for _, tt := range []struct {
		name  string
		width int
		wide  bool
		want  string
	}{
		{"without limit", 0, false, `
NAME        LEGS   HOME     WHAT IT SAYS
cat            4   house    miaow, when it wants to be let in, and again when it wants to be let out
blackbird      2   garden   tsink
`},
		{"the last column is cut", 50, false, `
NAME        LEGS   HOME     WHAT IT SAYS
cat            4   house    miaow, when it wants …
blackbird      2   garden   tsink
`},
		{"the least important column is given up", 35, false, `
NAME        HOME     WHAT IT SAYS
cat         house    miaow, when i…
blackbird   garden   tsink
`},
		{"only what matters is left", 20, false, `
NAME        WHAT IT SAYS
cat         miaow, when…
blackbird   tsink
`},
		{"wide shows all", 20, true, `
NAME        LEGS   HOME     LATIN           WHAT IT SAYS
cat            4   house    felis catus     miaow, when it wants to be let in, and again when it wants to be let out
blackbird      2   garden   turdus merula   tsink
`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			terminal, out := on(tt.width, "")
			table := animals
			table.Wide = tt.wide
			terminal.Table(table)
			if got := "\n" + out.String(); got != tt.want {
				t.Errorf("got%s\nexpected%s", got, tt.want)
			}
		})
	}
}

func TestColoursDoNotMoveColumns(t *testing.T) {
	terminal, out := on(0, "")
	table := Table{Columns: []Column{{Name: "A"}, {Name: "B"}}, Rows: [][]Cell{{{"bad", Bad}, {"x", Plain}}, {{"longer", Plain}, {"y", Plain}}}}
	terminal.Colour = true
	terminal.Table(table)
	if want := "A        B\n\x1b[31mbad\x1b[0m      x\nlonger   y\n"; out.String() != want {
		t.Errorf("got %q, expected %q", out.String(), want)
	}
}

func TestWhatAMachineSaysCannotDriveTheTerminal(t *testing.T) {
	terminal, out := on(80, "")
	if _, err := terminal.Text().Write([]byte("a\x1b[2J\x07b\tc\n\u009bd\r")); err != nil {
		t.Fatal(err)
	}
	if want := "a^[[2J^Gb\tc\n<9b>d"; out.String() != want {
		t.Errorf("got %q, expected %q", out.String(), want)
	}
	out.Reset()
	terminal.Interactive = false
	_, _ = terminal.Text().Write([]byte("a\x1b[2J"))
	if out.String() != "a\x1b[2J" {
		t.Errorf("a pipe gets %q, expected what the machine said", out.String())
	}
}

func TestOnlyATypedYesIsOne(t *testing.T) {
	for answer, want := range map[string]bool{"y\n": true, "YES\n": true, "\n": false, "n\n": false, "yesterday\n": false} {
		terminal, _ := on(80, answer)
		if got, err := terminal.Confirm(t.Context(), "Really?"); got != want || err != nil {
			t.Errorf("%q is taken for %v (%v)", answer, got, err)
		}
	}
	terminal, _ := on(80, "")
	if _, err := terminal.Confirm(t.Context(), "Really?"); err == nil {
		t.Error("an end of the input is taken for an answer")
	}
	terminal.Answers = false
	if _, err := terminal.Confirm(t.Context(), "Really?"); !errors.Is(err, ErrNobodyToAsk) {
		t.Errorf("got %v, expected that there is nobody to ask", err)
	}
}

func TestTheNextLineIsForTheNextQuestion(t *testing.T) {
	terminal, _ := on(80, "x\n\nc\ny\n")
	if got, err := terminal.Choose(t.Context(), "?", "sc"); got != 's' || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if got, err := terminal.Choose(t.Context(), "?", "sc"); got != 'c' || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if yes, err := terminal.Confirm(t.Context(), "?"); !yes || err != nil {
		t.Errorf("got %v, %v", yes, err)
	}
}

func TestCtrlCIsForWhoCaughtItLast(t *testing.T) {
	ctx, i := NewInterrupts(t.Context())
	var heard []string
	releaseFirst := i.Catch(func() { heard = append(heard, "first") })
	releaseSecond := i.Catch(func() { heard = append(heard, "second") })
	i.Fire()
	releaseSecond()
	i.Fire()
	if strings.Join(heard, " ") != "second first" || ctx.Err() != nil {
		t.Errorf("heard %v, context %v", heard, ctx.Err())
	}
	releaseFirst()
	i.Fire()
	if !errors.Is(context.Cause(ctx), ErrInterrupted) {
		t.Errorf("the context says %v, expected that it was interrupted", context.Cause(ctx))
	}
}

func TestFigures(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1536: "1.5 KiB", 5 << 30: "5.0 GiB", 1 << 60: "1.0 EiB"} {
		if got := Bytes(n); got != want {
			t.Errorf("%d bytes are %q, expected %q", n, got, want)
		}
	}
	if Count(1, "file") != "1 file" || Count(0, "file") != "0 files" {
		t.Error("counts are wrong")
	}
}
