package browse

import (
	"strings"
	"testing"
	"time"

	"github.com/restic-manager/restic-manager/api/wire"
)

func TestWhichSnapshotIsMeant(t *testing.T) {
	now := time.Date(2026, 11, 28, 14, 30, 0, 0, time.UTC)
	list := []wire.SnapshotRecord{ // in no order
		{ID: "bb" + strings.Repeat("1", 62), Time: now.Add(-time.Hour)},
		{ID: "aa" + strings.Repeat("2", 62), Time: now.Add(-25 * time.Hour)},
		{ID: "ab" + strings.Repeat("3", 62), Time: now.Add(-49 * time.Hour)},
	}
	grouped := []wire.SnapshotRecord{{ID: strings.Repeat("e", 64), Time: now, Tags: []string{"etc", "kept"}}, {ID: strings.Repeat("f", 64), Time: now.Add(-time.Hour), Tags: []string{"home"}},
		{ID: strings.Repeat("d", 64), Time: now.Add(-time.Hour), Tags: []string{"etc"}}}
	for _, tt := range []struct {
		name   string
		list   []wire.SnapshotRecord
		choice Choice
		want   string
		fails  string
	}{
		{"nothing is named", list, Choice{}, "bb", ""},
		{"latest", list, Choice{Snapshot: Latest}, "bb", ""},
		{"the beginning of an id", list, Choice{Snapshot: "aa"}, "aa", ""},
		{"a time between two", list, Choice{At: now.Add(-2 * time.Hour)}, "aa", ""},
		{"the time of one", list, Choice{At: now.Add(-25 * time.Hour)}, "aa", ""},
		{"a time after all", list, Choice{At: now}, "bb", ""},
		{"a time before all", list, Choice{At: now.Add(-100 * time.Hour)}, "", "the oldest is ab333333 of 2026-11-26T13:30:00Z"},
		{"an id that is none", list, Choice{Snapshot: "cc"}, "", "there is no snapshot cc"},
		{"an id that is several", list, Choice{Snapshot: "a"}, "", "2 snapshots begin with a"},
		{"no id at all", list, Choice{Snapshot: "newest"}, "", "or latest"},
		{"an id and a time", list, Choice{Snapshot: "aa", At: now}, "", "exclude each other"},
		{"no snapshot of the group", nil, Choice{Group: "etc"}, "", `of source group "etc"`},
		{"the newest of several groups", grouped, Choice{}, "", "several source groups (etc, home), and the newest is of etc: --group"},
		{"an id among several groups", grouped, Choice{Snapshot: "ff"}, "ff", ""},
		{"tags that people added are no groups", []wire.SnapshotRecord{grouped[0], grouped[2]}, Choice{}, "ee", ""},
		{"no snapshot", nil, Choice{}, "", "no snapshot yet"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Choose(tt.list, tt.choice)
			if (err == nil) != (tt.fails == "") || err != nil && !strings.Contains(err.Error(), tt.fails) {
				t.Fatalf("got %v, expected an error with %q", err, tt.fails)
			}
			if !strings.HasPrefix(got.ID, tt.want) {
				t.Errorf("got %s, expected %s", got.ID, tt.want)
			}
		})
	}
}
