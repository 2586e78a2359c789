package restic

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/restic-manager/restic-manager/agent/clock/clocktest"
)

// countedRestic is a program that says a version, and how often it was asked.
type countedRestic struct {
	t          *testing.T
	path, said string
}

func newCountedRestic(t *testing.T, version string) *countedRestic {
	t.Helper()
	dir := t.TempDir()
	c := &countedRestic{t: t, path: filepath.Join(dir, "restic"), said: filepath.Join(dir, "said")}
	c.install(version)
	return c
}

// install replaces the program, as a package manager does.
func (c *countedRestic) install(version string) {
	c.t.Helper()
	script := "#!/bin/sh\necho asked >>" + c.said + "\necho 'restic " + version + " compiled with go'\n"
	if err := os.WriteFile(c.path+".new", []byte(script), 0o755); err != nil {
		c.t.Fatal(err)
	}
	if err := os.Rename(c.path+".new", c.path); err != nil {
		c.t.Fatal(err)
	}
}

func (c *countedRestic) asked() int {
	c.t.Helper()
	said, err := os.ReadFile(c.said)
	if err != nil && !os.IsNotExist(err) {
		c.t.Fatal(err)
	}
	return strings.Count(string(said), "asked")
}

func TestAFinderAsksTheSameFileOnceAnHour(t *testing.T) {
	program, clk := newCountedRestic(t, "0.18.1"), clocktest.New(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	f := NewFinder(program.path, clk)
	find := func(when, want string, asked int) {
		t.Helper()
		binary, err := f.Find(t.Context())
		if err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		if binary.Version != want || binary.Path != program.path || f.Version() != want || program.asked() != asked {
			t.Errorf("%s: %+v, remembered %s, asked %d times; want %s after %d", when, binary, f.Version(), program.asked(), want, asked)
		}
	}
	if f.Version() != "" {
		t.Errorf("before the first look it is %q", f.Version())
	}
	find("first", "0.18.1", 1)
	find("again", "0.18.1", 1)
	if binary, err := f.FindAnew(t.Context()); err != nil || binary.Version != "0.18.1" || program.asked() != 2 {
		t.Errorf("when that is wanted: %+v, %v, asked %d times", binary, err, program.asked())
	}
	clk.Advance(askAgain - time.Second)
	find("just within the hour", "0.18.1", 2)
	clk.Advance(time.Second)
	find("an hour later", "0.18.1", 3)
	program.install("0.19.1")
	find("replaced", "0.19.1", 4)
	if err := os.Remove(program.path); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Find(t.Context()); KindOf(err) != KindNotStarted || f.Version() != "" {
		t.Errorf("of one that is gone: %v, remembered %q", err, f.Version())
	}
	program.install("0.17.3")
	for range 2 {
		if _, err := f.Find(t.Context()); KindOf(err) != KindNotStarted || !strings.Contains(err.Error(), "0.17.3") || f.Version() != "" {
			t.Errorf("of one that is too old: %v, remembered %q", err, f.Version())
		}
	}
	program.install("0.19.1")
	find("a good one again", "0.19.1", 7)
	clk.Set(clk.Now().Add(-24 * time.Hour))
	find("with a clock that went back", "0.19.1", 8)
}
