package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestValues(t *testing.T) {
	got, err := values([]byte(`# The file.

# -- Where.
url: ""

# A part of its own:
#
# with a paragraph.
part:
  # -- How many | of them.
  count: 2
  # -- As a whole.
  whole:
    a: b
`))
	if err != nil {
		t.Fatal(err)
	}
	want := []row{{"url", `""`, "Where."}, {"part", "", "A part of its own:\n\nwith a paragraph."}, {"part.count", "2", "How many | of them."}, {"part.whole", `{"a":"b"}`, "As a whole."}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(row{})); diff != "" {
		t.Error(diff)
	}
	if out := table(got); !strings.Contains(out, "| `part.count` | `2` | How many \\| of them. |\n") {
		t.Error(out)
	}
}

func TestAValueWithoutACommentIsAnError(t *testing.T) {
	if _, err := values([]byte("a:\n  b: c\n")); err == nil || !strings.Contains(err.Error(), "a.b") {
		t.Errorf("got %v", err)
	}
}

func TestFlagTable(t *testing.T) {
	got, err := flagTable("program", "Flags:\n  -h, --help            help\n      --leader-elect    one leads (default true)\n      --token-ttl duration   how long <x> (default 1h0m0s)\n")
	if err != nil {
		t.Fatal(err)
	}
	want := "| flag | type | meaning |\n|---|---|---|\n| `--leader-elect` | bool | one leads (default true) |\n| `--token-ttl` | duration | how long &lt;x&gt; (default 1h0m0s) |\n"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, err := flagTable("program", "Usage: program"); err == nil {
		t.Error("a help without flags is taken")
	}
}
