package doctor

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/restic-manager/restic-manager/cli/terminal"
)

var tones = map[Verdict]terminal.Tone{Fine: terminal.Good, Wrong: terminal.Bad, Warning: terminal.Doubtful, Skipped: terminal.Faint}

// Print writes findings, one below the other: what is wrong has its remedy on a line of its own, ready to be copied.
func Print(t *terminal.Terminal, host string, found []Finding) {
	t.Printf("%s\n", host)
	const verdictWidth, linkWidth = 6, 18
	for _, f := range found {
		indent := strings.Repeat(" ", 2+verdictWidth+linkWidth)
		verdict := t.Tint(tones[f.Verdict], string(f.Verdict)) + strings.Repeat(" ", verdictWidth-len(f.Verdict))
		says := wrap(f.Says, t.Width()-len(indent))
		t.Printf("  %s%-*s%s\n", verdict, linkWidth, f.Link, strings.Join(says, "\n"+indent))
		if f.Fix != "" {
			t.Printf("%s-> %s\n", indent, f.Fix)
		}
	}
	switch Worst(found) {
	case Wrong:
		t.Printf("%s\n", t.Tint(terminal.Bad, fmt.Sprintf("%s to mend.", terminal.Count(int64(number(found, Wrong)), "thing"))))
	case Warning:
		t.Printf("%s\n", t.Tint(terminal.Doubtful, "It works; mind the warnings."))
	default:
		t.Printf("%s\n", t.Tint(terminal.Good, "All is well."))
	}
}

func number(found []Finding, v Verdict) int {
	n := 0
	for _, f := range found {
		if f.Verdict == v {
			n++
		}
	}
	return n
}

// wrap breaks a text into lines of at most width; one line where there is no room, or no limit.
func wrap(text string, width int) []string {
	const least = 30
	text = terminal.OneLine(text)
	if width < least {
		return []string{text}
	}
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width {
			lines, line = append(lines, line), ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}
