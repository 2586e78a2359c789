// Command licenses writes the licences of everything that is linked into programs, and refuses one that is not known to be fit.
//
//	licenses -out THIRD_PARTY_LICENSES.txt PROGRAM...
//
// What is linked is read from the programs themselves; the texts come from Go's module cache, and of Go itself from GOROOT.
package main

import (
	"cmp"
	"debug/buildinfo"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
)

func main() {
	out := flag.String("out", "", "file to write")
	flag.Parse()
	if *out == "" || flag.NArg() == 0 {
		fmt.Fprintln(os.Stderr, "usage: licenses -out FILE PROGRAM...")
		os.Exit(2)
	}
	if err := run(*out, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "licenses:", err)
		os.Exit(1)
	}
}

func run(out string, programs []string) error {
	modules, err := linked(programs)
	if err != nil {
		return err
	}
	var all []license
	var problems []error
	for _, m := range modules {
		l, err := of(m)
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", m, err))
			continue
		}
		all = append(all, l)
	}
	if err := errors.Join(problems...); err != nil {
		return err
	}
	text := render(all)
	return errors.Join(os.MkdirAll(filepath.Dir(out), 0o755), os.WriteFile(out, []byte(text), 0o644))
}

// module is one that is linked; Go itself has no version here.
type module struct{ path, version string }

func (m module) String() string { return m.path + " " + m.version }

// linked are the modules of all programs but their own, in order of path and version, after Go itself.
func linked(programs []string) ([]module, error) {
	found := map[module]bool{}
	var toolchain string
	for _, p := range programs {
		info, err := buildinfo.ReadFile(p)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p, err)
		}
		toolchain = info.GoVersion
		for _, d := range dependencies(info) {
			found[d] = true
		}
	}
	modules := slices.SortedFunc(maps.Keys(found), func(a, b module) int {
		return cmp.Or(strings.Compare(a.path, b.path), strings.Compare(a.version, b.version))
	})
	return append([]module{{goItself, toolchain}}, modules...), nil
}

func dependencies(info *debug.BuildInfo) []module {
	var found []module
	for _, d := range info.Deps {
		if d.Replace != nil {
			d = d.Replace
		}
		found = append(found, module{d.Path, d.Version})
	}
	return found
}
