package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"github.com/google/licensecheck"
)

// goItself stands for the standard library and the runtime.
const goItself = "Go"

// fit are the licences whose terms are met by shipping their text and, of MPL-2.0, by the unchanged sources that the module proxy has.
var fit = []string{"Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "HPND", "ISC", "MIT", "MPL-2.0", "Unlicense", "CC0-1.0", "CC-BY-3.0", "CC-BY-4.0", "CC-BY-SA-4.0", "Zlib"}

// minCovered is the part of a text, in percent, that must be known as some licence: less, and it holds terms that nobody has looked at.
const minCovered = 75

// names of files that hold a licence, a notice or the names of who holds the rights.
var names = regexp.MustCompile(`(?i)^(un)?(licen[cs]e|copying|notice|authors|patents)(\b|[-_.]|$)`)

// license is what a module says of its terms.
type license struct {
	module module
	ids    []string
	texts  []text
}

type text struct{ name, content string }

// of reads the terms of a module.
func of(m module) (license, error) {
	folder, err := folderOf(m)
	if err != nil {
		return license{}, err
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		return license{}, err
	}
	l := license{module: m}
	for _, e := range entries {
		if e.IsDir() || !names.MatchString(e.Name()) || strings.HasSuffix(e.Name(), ".go") {
			continue
		}
		content, err := os.ReadFile(filepath.Join(folder, e.Name()))
		if err != nil {
			return license{}, err
		}
		l.texts = append(l.texts, text{e.Name(), string(content)})
	}
	l.ids, err = judge(l.texts)
	return l, err
}

// judge tells which licences the texts are, and why they are not fit.
func judge(texts []text) ([]string, error) {
	var ids []string
	for _, t := range texts {
		if !regexp.MustCompile(`(?i)licen[cs]e|copying`).MatchString(t.name) {
			continue // a notice or names: shipped, and no terms of their own
		}
		coverage := licensecheck.Scan([]byte(t.content))
		if len(coverage.Match) > 0 && coverage.Percent < minCovered {
			return nil, fmt.Errorf("%s is known to %.0f %% alone: read it, and add what it is", t.name, coverage.Percent)
		}
		for _, match := range coverage.Match {
			if !slices.Contains(fit, match.ID) {
				return nil, fmt.Errorf("%s has the licence %s, which is not among those that are fit: %s", t.name, match.ID, strings.Join(fit, ", "))
			}
			ids = append(ids, match.ID)
		}
	}
	if len(ids) == 0 {
		return nil, errors.New("no text of a licence that is known was found")
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
}

// folderOf is where the module's files are; they are fetched when they are not there.
func folderOf(m module) (string, error) {
	if m.path == goItself {
		return runtime.GOROOT(), nil
	}
	out, err := exec.Command("go", "mod", "download", "-json", m.path+"@"+m.version).Output()
	var answer struct{ Dir, Error string }
	if jsonErr := json.Unmarshal(out, &answer); jsonErr != nil {
		return "", errors.Join(err, jsonErr)
	}
	if answer.Error != "" {
		return "", errors.New(answer.Error)
	}
	return answer.Dir, err
}

// render writes a list first, then each text once, under the names of all that have it.
func render(all []license) string {
	var b strings.Builder
	b.WriteString("The programs of restic-manager, and the builds of restic that come with them, contain these modules.\n\n")
	for _, l := range all {
		fmt.Fprintf(&b, "%s  %s\n", l.module, strings.Join(l.ids, ", "))
	}
	var order []string
	owners := map[string][]string{}
	for _, l := range all {
		for _, t := range l.texts {
			content := strings.TrimSpace(strings.ReplaceAll(t.content, "\r\n", "\n"))
			if owners[content] == nil {
				order = append(order, content)
			}
			owners[content] = append(owners[content], l.module.path+" ("+t.name+")")
		}
	}
	for _, content := range order {
		fmt.Fprintf(&b, "\n%s\n%s\n\n%s\n", strings.Repeat("=", 100), strings.Join(owners[content], "\n"), content)
	}
	return b.String()
}
