package main

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"
)

// row is one line of the result.
type row struct {
	what string
	// ours and baseline as a person reads them.
	ours, baseline string
	// ratio of the two, 0 where there is none; bar is what it, or ours, may be at most, in words.
	ratio float64
	bar   string
	// holds tells whether the bar does; nil where there is none, or where the figures do not tell.
	holds *bool
	note  string
}

// within is a row whose bar is on the ratio.
func within(what string, ours, baseline fmt.Stringer, ratio, limit float64) row {
	r := row{what: what, ours: ours.String(), baseline: baseline.String(), ratio: ratio}
	r.judge(limit)
	return r
}

// judge puts a bar on the ratio.
func (r *row) judge(limit float64) {
	r.bar, r.holds = fmt.Sprintf("≤ %g×", limit), new(r.ratio <= limit)
}

// below is a row whose bar is on the figure itself.
func below[T int64 | float64 | time.Duration | size](what, ours string, value, limit T, bar string) row {
	return row{what: what, ours: ours, bar: bar, holds: new(value <= limit)}
}

func (r row) cells() []string {
	ratio, verdict := "", ""
	if r.ratio != 0 {
		ratio = fmt.Sprintf("%.2f×", r.ratio)
	}
	switch {
	case r.holds != nil && *r.holds:
		verdict = "yes"
	case r.holds != nil:
		verdict = "no"
	case r.bar != "":
		verdict = "open"
	}
	return []string{r.what, r.ours, r.baseline, ratio, r.bar, verdict, r.note}
}

var heads = []string{"what", "measured", "baseline", "ratio", "bar", "holds", "note"}

// terminal is the table in columns.
func terminal(rows []row) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, cells := range append([][]string{heads}, all(rows)...) {
		fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	w.Flush()
	return b.String()
}

// markdown is the table of a page.
func markdown(rows []row) string {
	var b strings.Builder
	fmt.Fprintf(&b, "| %s |\n|%s\n", strings.Join(heads, " | "), strings.Repeat("---|", len(heads)))
	for _, cells := range all(rows) {
		fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | "))
	}
	return b.String()
}

func all(rows []row) [][]string {
	var cells [][]string
	for _, r := range rows {
		cells = append(cells, r.cells())
	}
	return cells
}

// size is a number of bytes.
type size int64

func (s size) String() string {
	switch {
	case s >= 10<<20:
		return fmt.Sprintf("%.0f MiB", float64(s)/(1<<20))
	case s >= 10<<10:
		return fmt.Sprintf("%.1f KiB", float64(s)/(1<<10))
	}
	return fmt.Sprintf("%d B", int64(s))
}

// span is a time as a person reads it.
type span time.Duration

func (s span) String() string {
	d := time.Duration(s)
	switch {
	case d >= 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d >= 100*time.Millisecond:
		return d.Round(time.Millisecond).String()
	}
	return d.Round(10 * time.Microsecond).String()
}
