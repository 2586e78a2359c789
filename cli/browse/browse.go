package browse

import (
	"context"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/cli/query"
	"github.com/restic-manager/restic-manager/cli/terminal"
)

// Browser shows backups.
type Browser struct {
	Asker    *query.Asker
	Terminal *terminal.Terminal
	Now      func() time.Time
}

// Snapshots lists snapshots, the oldest first: the newest stands where the person looks next.
func (b *Browser) Snapshots(ctx context.Context, host *v1alpha1.Host, q wire.SnapshotsQuery, f terminal.Format) error {
	all, err := List(ctx, b.Asker, host, q)
	switch {
	case err != nil:
		return err
	case f == terminal.FormatJSON || f == terminal.FormatYAML:
		return b.Terminal.Print(f, orEmpty(all))
	case f == terminal.FormatName:
		for _, s := range all {
			b.Terminal.Printf("%s\n", terminal.OneLine(s.ID))
		}
		return nil
	case len(all) == 0:
		b.Terminal.Notef("No snapshots found.")
		return nil
	}
	b.Terminal.Table(snapshotTable(all, b.Now(), f == terminal.FormatWide))
	return nil
}

func snapshotTable(all []wire.SnapshotRecord, now time.Time, wide bool) terminal.Table {
	t := terminal.Table{Wide: wide, Columns: []terminal.Column{
		{Name: "Snapshot"}, {Name: "Time", GiveUp: 4}, {Name: "Age"}, {Name: "Group"}, {Name: "Host", Wide: true},
		{Name: "Files", Right: true, GiveUp: 3}, {Name: "Size", Right: true, GiveUp: 2}, {Name: "Added", Right: true, GiveUp: 1}, {Name: "Paths"},
	}}
	for _, s := range all {
		id := Short(s.ID)
		if wide {
			id = s.ID
		}
		row := terminal.Cells(terminal.OneLine(id), s.Time.In(now.Location()).Format(time.DateTime), terminal.Ago(s.Time, now), orNothing(terminal.OneLine(strings.Join(s.Tags, ","))),
			terminal.OneLine(s.ResticHost), figure(s.Files), size(s.Bytes), size(s.BytesAdded), terminal.OneLine(strings.Join(s.Paths, " ")))
		if s.Time.After(now.Add(time.Hour)) {
			row[2] = terminal.Cell{Text: "future", Tone: terminal.Bad}
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

// Files lists what a snapshot holds, line by line.
func (b *Browser) Files(ctx context.Context, host *v1alpha1.Host, c Choice, path string, recursive bool, f terminal.Format) error {
	id, err := b.idOf(ctx, host, c)
	if err != nil {
		return err
	}
	q := query.Question{Host: host, Kind: wire.QueryFiles, Parameters: wire.QueryParameters{Files: &wire.FilesQuery{Snapshot: id, Path: path, Recursive: recursive}}}
	return lines(ctx, b, q, f, func(r wire.FileRecord) (line, name string) { return longFile(r, b.Now().Location()), r.Path })
}

// Find looks for files in all snapshots, or in one.
func (b *Browser) Find(ctx context.Context, host *v1alpha1.Host, q wire.FindQuery, c Choice, f terminal.Format) error {
	if c.Snapshot != "" || !c.At.IsZero() {
		id, err := b.idOf(ctx, host, c)
		if err != nil {
			return err
		}
		q.Snapshot, q.Group = id, ""
	}
	found := 0
	question := query.Question{Host: host, Kind: wire.QueryFind, Parameters: wire.QueryParameters{Find: &q}}
	err := lines(ctx, b, question, f, func(r wire.FileRecord) (line, name string) {
		found++
		return Short(r.Snapshot) + "  " + longFile(r, b.Now().Location()), Short(r.Snapshot) + ":" + r.Path
	})
	if err == nil && found == 0 && (f == terminal.FormatTable || f == terminal.FormatWide) {
		b.Terminal.Notef("Nothing matches %q. A pattern is a whole name (*.conf) or a path (/etc/*.conf); --ignore-case looks further.", q.Pattern)
	}
	return err
}

// Diff shows what differs between two snapshots.
func (b *Browser) Diff(ctx context.Context, host *v1alpha1.Host, from, to Choice, f terminal.Format) error {
	q := &wire.DiffQuery{}
	var err error
	if q.From, err = b.idOf(ctx, host, from); err != nil {
		return err
	}
	if q.To, err = b.idOf(ctx, host, to); err != nil {
		return err
	}
	return lines(ctx, b, query.Question{Host: host, Kind: wire.QueryDiff, Parameters: wire.QueryParameters{Diff: q}}, f, func(r wire.DiffRecord) (line, name string) {
		if s := r.Summary; s != nil {
			return fmt.Sprintf("\n%s changed, %s added, %s removed; %s added, %s removed", terminal.Count(s.ChangedFiles, "file"), terminal.Count(s.FilesAdded, "file"),
				terminal.Count(s.FilesRemoved, "file"), terminal.Bytes(s.BytesAdded), terminal.Bytes(s.BytesRemoved)), ""
		}
		return b.Terminal.Tint(diffTone(r.Modifier), fmt.Sprintf("%-5s", terminal.OneLine(r.Modifier))) + terminal.OneLine(r.Path), r.Path
	})
}

func diffTone(modifier string) terminal.Tone {
	switch {
	case strings.HasPrefix(modifier, "+"):
		return terminal.Good
	case strings.HasPrefix(modifier, "-"):
		return terminal.Bad
	case strings.Contains(modifier, "?"):
		return terminal.Bad
	}
	return terminal.Doubtful
}

// lines writes records as they come, as lines or as what a program reads.
func lines[T any](ctx context.Context, b *Browser, q query.Question, f terminal.Format, show func(T) (line, name string)) error {
	var all []T
	err := query.Records(ctx, b.Asker, q, func(r T) error {
		line, name := show(r)
		switch f {
		case terminal.FormatJSON, terminal.FormatYAML:
			all = append(all, r)
		case terminal.FormatName:
			if name != "" {
				_, err := fmt.Fprintln(b.Terminal.Text(), name)
				return err
			}
		default:
			return b.line(line)
		}
		return nil
	})
	if err == nil && (f == terminal.FormatJSON || f == terminal.FormatYAML) {
		return b.Terminal.Print(f, orEmpty(all))
	}
	return err
}

// line tells when nobody reads any more (a pipe into head).
func (b *Browser) line(text string) error {
	_, err := fmt.Fprintln(b.Terminal.Out, text)
	return err
}

// longFile is a file as ls -l shows it.
func longFile(r wire.FileRecord, zone *time.Location) string {
	modified := strings.Repeat(" ", len(time.DateTime)-3)
	if !r.MTime.IsZero() {
		modified = r.MTime.In(zone).Format("2006-01-02 15:04")
	}
	amount := ""
	if r.Type == "file" {
		amount = terminal.Bytes(r.Size)
	}
	name := terminal.OneLine(r.Path)
	if r.LinkTarget != "" {
		name += " -> " + terminal.OneLine(r.LinkTarget)
	}
	return fmt.Sprintf("%-10s %5d %5d %10s  %s  %s", modeOf(r), r.UID, r.GID, amount, modified, name)
}

// modeOf writes a mode as ls does.
func modeOf(r wire.FileRecord) string {
	mode := fs.FileMode(r.Mode)
	kind := map[string]string{"dir": "d", "symlink": "l", "dev": "b", "chardev": "c", "fifo": "p", "socket": "s"}[r.Type]
	if kind == "" {
		kind = "-"
	}
	return kind + mode.Perm().String()[1:]
}

func figure(n int64) string {
	if n == 0 {
		return terminal.Nothing
	}
	return fmt.Sprint(n)
}

func size(n int64) string {
	if n == 0 {
		return terminal.Nothing
	}
	return terminal.Bytes(n)
}

func orNothing(text string) string {
	if text == "" {
		return terminal.Nothing
	}
	return text
}

// orEmpty is a list that is written as one, also without entries.
func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
