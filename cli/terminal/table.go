package terminal

import (
	"strings"
	"unicode/utf8"
)

// Tone is how good or bad something is.
type Tone int

// The tones.
const (
	Plain Tone = iota
	Good
	Doubtful
	Bad
	Faint
)

var codes = map[Tone]string{Good: "\x1b[32m", Doubtful: "\x1b[33m", Bad: "\x1b[31m", Faint: "\x1b[2m"}

// Tint colours a text where colours are wanted.
func (t *Terminal) Tint(tone Tone, text string) string {
	if !t.Colour || codes[tone] == "" || text == "" {
		return text
	}
	return codes[tone] + text + "\x1b[0m"
}

// Column of a table.
type Column struct {
	Name string
	// Right aligns figures.
	Right bool
	// Wide columns are shown with -o wide alone.
	Wide bool
	// GiveUp says in which order columns are left out on a narrow terminal: 1 first; 0 never.
	GiveUp int
}

// Cell of a table.
type Cell struct {
	Text string
	Tone Tone
}

// Cells makes plain ones.
func Cells(texts ...string) []Cell {
	out := make([]Cell, len(texts))
	for i, text := range texts {
		out[i].Text = text
	}
	return out
}

// Table is rows below columns.
type Table struct {
	Columns []Column
	Rows    [][]Cell
	// Wide shows the wide columns, whatever the width.
	Wide bool
	// NoHeaders leaves out the names of the columns.
	NoHeaders bool
}

const (
	gap = "   "
	// narrowest is what is left of the last column before it is cut no further.
	narrowest = 12
)

// Table writes a table.
func (t *Terminal) Table(table Table) {
	limit := t.Width()
	if table.Wide {
		limit = 0
	}
	shown := table.fit(limit)
	widths := table.widths(shown)
	last := len(shown) - 1
	if limit > 0 && len(shown) > 0 {
		if over := total(widths) - limit; over > 0 {
			widths[last] = max(narrowest, widths[last]-over)
		}
	}
	var b strings.Builder
	line := func(cells func(i int) Cell) {
		var text strings.Builder
		for n, i := range shown {
			cell := cells(i)
			content := cut(cell.Text, widths[n])
			space := strings.Repeat(" ", widths[n]-utf8.RuneCountInString(content))
			if n > 0 {
				text.WriteString(gap)
			}
			switch {
			case table.Columns[i].Right:
				text.WriteString(space + t.Tint(cell.Tone, content))
			case n == last:
				text.WriteString(t.Tint(cell.Tone, content))
			default:
				text.WriteString(t.Tint(cell.Tone, content) + space)
			}
		}
		b.WriteString(strings.TrimRight(text.String(), " ") + "\n")
	}
	if !table.NoHeaders {
		line(func(i int) Cell { return Cell{Text: strings.ToUpper(table.Columns[i].Name)} })
	}
	for _, row := range table.Rows {
		line(func(i int) Cell { return row[i] })
	}
	t.Printf("%s", b.String())
}

// fit returns the indexes of the columns that have room.
func (table Table) fit(limit int) []int {
	var shown []int
	for i, c := range table.Columns {
		if !c.Wide || table.Wide {
			shown = append(shown, i)
		}
	}
	for limit > 0 {
		widths := table.widths(shown)
		needed := total(widths)
		if n := len(widths); n > 0 && widths[n-1] > narrowest {
			needed -= widths[n-1] - narrowest // the last one can be cut
		}
		if needed <= limit {
			break
		}
		leave := -1
		for n, i := range shown {
			if g := table.Columns[i].GiveUp; g > 0 && (leave < 0 || g < table.Columns[shown[leave]].GiveUp) {
				leave = n
			}
		}
		if leave < 0 {
			break
		}
		shown = append(shown[:leave:leave], shown[leave+1:]...)
	}
	return shown
}

func (table Table) widths(shown []int) []int {
	widths := make([]int, len(shown))
	for n, i := range shown {
		if !table.NoHeaders {
			widths[n] = utf8.RuneCountInString(table.Columns[i].Name)
		}
		for _, row := range table.Rows {
			widths[n] = max(widths[n], utf8.RuneCountInString(row[i].Text))
		}
	}
	return widths
}

func total(widths []int) int {
	sum := len(gap) * max(0, len(widths)-1)
	for _, w := range widths {
		sum += w
	}
	return sum
}

func cut(text string, width int) string {
	if utf8.RuneCountInString(text) <= width {
		return text
	}
	return string([]rune(text)[:max(0, width-1)]) + "…"
}
