package fleet

import (
	"fmt"
	"strings"
	"time"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/cli/terminal"
)

// Options of a report's print.
type Options struct {
	Now time.Time
	// Namespaces shows the namespace of each object.
	Namespaces bool
	// Problems leaves out what is well.
	Problems bool
	Format   terminal.Format
}

var tones = map[State]terminal.Tone{
	Failing: terminal.Bad, Overdue: terminal.Bad, NotReady: terminal.Doubtful, Disconnected: terminal.Doubtful, Waiting: terminal.Doubtful,
	Unscheduled: terminal.Doubtful, Suspended: terminal.Faint, Current: terminal.Good,
}

// Print writes a report.
func Print(t *terminal.Terminal, r Report, o Options) error {
	if o.Problems {
		r = r.problems()
	}
	switch o.Format {
	case terminal.FormatJSON, terminal.FormatYAML:
		return t.Print(o.Format, r)
	case terminal.FormatName:
		for _, h := range r.Hosts {
			t.Printf("host.%s/%s\n", v1alpha1.GroupVersion.Group, h.Name)
		}
		return nil
	}
	t.Printf("%s\n", headline(t, r))
	if len(r.Groups) > 0 {
		t.Printf("\n")
		t.Table(groupTable(r.Groups, o))
	}
	if len(r.Hosts) > 0 {
		t.Printf("\n")
		t.Table(hostTable(r.Hosts, o))
	}
	return nil
}

// problems is a report without what is well; the counts stay.
func (r Report) problems() Report {
	out := Report{Counts: r.Counts, Hosts: []Host{}, Groups: []GroupSummary{}}
	for _, h := range r.Hosts {
		if !h.State.fine() {
			out.Hosts = append(out.Hosts, h)
		}
	}
	for _, g := range r.Groups {
		if !g.worst().fine() {
			out.Groups = append(out.Groups, g)
		}
	}
	return out
}

func headline(t *terminal.Terminal, r Report) string {
	total := 0
	for _, n := range r.Counts {
		total += n
	}
	if total == 0 {
		return "No hosts found."
	}
	var parts []string
	for _, s := range States() {
		if n := r.Counts[s]; n > 0 {
			parts = append(parts, t.Tint(tones[s], fmt.Sprintf("%d %s", n, words[s])))
		}
	}
	return terminal.Count(int64(total), "host") + ": " + strings.Join(parts, ", ")
}

var words = map[State]string{
	Failing: "failing", Overdue: "overdue", NotReady: "not ready", Disconnected: "disconnected", Waiting: "waiting for the first backup",
	Unscheduled: "without schedule", Suspended: "suspended", Current: "current",
}

func groupTable(groups []GroupSummary, o Options) terminal.Table {
	t := terminal.Table{Wide: o.Format == terminal.FormatWide}
	if o.Namespaces {
		t.Columns = append(t.Columns, terminal.Column{Name: "Namespace", GiveUp: 3})
	}
	t.Columns = append(t.Columns, terminal.Column{Name: "Group"}, terminal.Column{Name: "Hosts", Right: true}, terminal.Column{Name: "Current", Right: true},
		terminal.Column{Name: "Overdue", Right: true}, terminal.Column{Name: "Failing", Right: true}, terminal.Column{Name: "Waiting", Right: true, GiveUp: 2},
		terminal.Column{Name: "Oldest success", GiveUp: 1})
	for _, g := range groups {
		var row []terminal.Cell
		if o.Namespaces {
			row = terminal.Cells(g.Namespace)
		}
		number := func(states ...State) terminal.Cell {
			n := 0
			for _, s := range states {
				n += g.Counts[s]
			}
			cell := terminal.Cell{Text: fmt.Sprint(n)}
			if n > 0 {
				cell.Tone = tones[states[0]]
			}
			return cell
		}
		row = append(row, terminal.Cell{Text: g.Name}, terminal.Cell{Text: fmt.Sprint(g.Hosts)}, number(Current, Suspended), number(Overdue), number(Failing), number(Waiting),
			terminal.Cell{Text: terminal.AgoOf(g.Oldest, o.Now)})
		t.Rows = append(t.Rows, row)
	}
	return t
}

func hostTable(hosts []Host, o Options) terminal.Table {
	wide := o.Format == terminal.FormatWide
	t := terminal.Table{Wide: wide}
	if o.Namespaces {
		t.Columns = append(t.Columns, terminal.Column{Name: "Namespace", GiveUp: 4})
	}
	t.Columns = append(t.Columns, terminal.Column{Name: "Host"}, terminal.Column{Name: "State"}, terminal.Column{Name: "Connected", GiveUp: 1},
		terminal.Column{Name: "Last success", GiveUp: 3}, terminal.Column{Name: "Next run", GiveUp: 2}, terminal.Column{Name: "Groups", Wide: true}, terminal.Column{Name: "Message"})
	for _, h := range hosts {
		var row []terminal.Cell
		if o.Namespaces {
			row = terminal.Cells(h.Namespace)
		}
		connected := terminal.Cell{Text: "yes"}
		if !h.Connected {
			connected = terminal.Cell{Text: "no", Tone: terminal.Doubtful}
		}
		row = append(row, terminal.Cell{Text: h.Name}, terminal.Cell{Text: string(h.State), Tone: tones[h.State]}, connected,
			terminal.Cell{Text: terminal.AgoOf(h.LastSuccess, o.Now)}, terminal.Cell{Text: terminal.In(h.NextRun, o.Now)}, terminal.Cell{Text: groupList(h.Groups)},
			terminal.Cell{Text: terminal.OneLine(h.Message)})
		t.Rows = append(t.Rows, row)
	}
	return t
}

// groupList names a host's groups; those that are not current with their state.
func groupList(groups []Group) string {
	var parts []string
	for _, g := range groups {
		text := g.Name
		if g.State != Current {
			text += "=" + string(g.State)
		}
		parts = append(parts, text)
	}
	if len(parts) == 0 {
		return terminal.Nothing
	}
	return strings.Join(parts, ",")
}
