package restic

import (
	"context"
	"errors"
	"strings"
	"testing"
)

func TestAPatternThatMatchesTooMuchIsToldAndNotKept(t *testing.T) {
	r := playScript(t, `echo '[{"matches":['
awk 'BEGIN { for (i = 0; i < 60000; i++) printf "%s{\"path\":\"/%d\",\"type\":\"file\"}", i ? "," : "", i }'
echo '],"hits":60000,"snapshot":"0123456789abcdef"}]'`)
	seen := 0
	err := r.Find(context.Background(), fixtureRepository, FindOptions{Pattern: "*"}, func(string, Node) error { seen++; return nil }, nil)
	if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "narrower pattern") || seen != 0 {
		t.Errorf("%d seen, %v", seen, err)
	}
}

func TestOutputThatBreaksOffIsAFailure(t *testing.T) {
	ctx := context.Background()
	for name, run := range map[string]func(r *Runner) error{
		`[{"matches":[{"path":"/a"`: func(r *Runner) error {
			return r.Find(ctx, fixtureRepository, FindOptions{Pattern: "*"}, func(string, Node) error { return nil }, nil)
		},
		`[{"id":"0123456789abcdef"},`: func(r *Runner) error {
			return r.EachSnapshot(ctx, fixtureRepository, SnapshotFilter{}, func(Snapshot) error { return nil }, nil)
		},
		`{"message_type":"change","path":"/a`: func(r *Runner) error {
			_, err := r.Diff(ctx, fixtureRepository, "01234567", "89abcdef", func(Difference) error { return nil }, nil)
			return err
		},
		`{"message_type":"node","path":"/a"`: func(r *Runner) error {
			return r.ListFolder(ctx, fixtureRepository, "01234567", "/a", false, func(Node) error { return nil }, nil)
		},
		`{"not":"an array"}`: func(r *Runner) error {
			return r.EachSnapshot(ctx, fixtureRepository, SnapshotFilter{}, func(Snapshot) error { return nil }, nil)
		},
	} {
		if err := run(playScript(t, "echo '"+name+"'")); KindOf(err) != KindFailed {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestArgumentsOfSearchesCannotBecomeOptions(t *testing.T) {
	for name, o := range map[string]FindOptions{
		"an empty pattern":        {},
		"a pattern with a NUL":    {Pattern: "a\x00b"},
		"a snapshot of options":   {Pattern: "a", Snapshot: "--repo=/"},
		"a tag that is two":       {Pattern: "a", Filter: SnapshotFilter{Tag: "a,b"}},
		"a host with a NUL":       {Pattern: "a", Filter: SnapshotFilter{Host: "a\x00"}},
		"the latest of snapshots": {Pattern: "a", Snapshot: Latest},
	} {
		if err := o.check(); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	args := strings.Join(FindOptions{Pattern: "--help", IgnoreCase: true, Filter: SnapshotFilter{Host: "h", Tag: "t"}}.args(), " ")
	if want := "--no-lock find --ignore-case --host=h --tag=t -- --help"; args != want {
		t.Errorf("%s, want %s", args, want)
	}
}
