package imports

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/restic-manager/restic-manager"

// pkg is the part of go list's output that is used here.
type pkg struct {
	ImportPath string
	Standard   bool
	Imports    []string
}

// graph is every package that the module's packages need, by import path. Paths in the module are without its prefix:
// "api/wire".
type graph map[string]pkg

func readGraph(t *testing.T, patterns ...string) graph {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-deps", "-json=ImportPath,Standard,Imports"}, patterns...)...)
	cmd.Dir = "../.."
	// What is released: a pure Go build for Linux.
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v: %s", err, stderr.String())
	}
	g := graph{}
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return g
		} else if err != nil {
			t.Fatal(err)
		}
		g.add(p)
	}
}

func (g graph) add(p pkg) {
	p.ImportPath = short(p.ImportPath)
	imports := make([]string, len(p.Imports))
	for i, path := range p.Imports {
		imports[i] = short(path)
	}
	p.Imports = imports
	g[p.ImportPath] = p
}

func short(path string) string { return strings.TrimPrefix(path, module+"/") }

// below tells whether a package is one of the given folders or lies in one.
func below(path string, folders ...string) bool {
	return slices.ContainsFunc(folders, func(folder string) bool {
		return path == folder || strings.HasPrefix(path, folder+"/")
	})
}

// own tells whether a package belongs to this module.
func own(path string) bool {
	return below(path, "api", "controllers", "agentgateway", "agent", "cli", "cmd", "internal", "test", "hack")
}

// chain returns the shortest way of imports from one package to another that is forbidden, nil when there is none. A
// direct search looks at the package's own imports only; a deep one follows them to the end, standard library excepted.
func (g graph) chain(from string, deep bool, forbidden func(pkg) bool) []string {
	cameFrom := map[string]string{}
	queue := []string{from}
	for len(queue) > 0 {
		at := queue[0]
		queue = queue[1:]
		for _, next := range g[at].Imports {
			if _, seen := cameFrom[next]; seen || next == from {
				continue
			}
			cameFrom[next] = at
			target, known := g[next]
			if !known {
				target = pkg{ImportPath: next}
			}
			if forbidden(target) {
				way := []string{next}
				for step := at; step != from; step = cameFrom[step] {
					way = append(way, step)
				}
				way = append(way, from)
				slices.Reverse(way)
				return way
			}
			if deep && !target.Standard {
				queue = append(queue, next)
			}
		}
	}
	return nil
}

// violations applies rules to every package that they are about.
func (g graph) violations(rules []rule) []string {
	var found []string
	for path := range g {
		for _, r := range rules {
			if !r.about(path) {
				continue
			}
			way := g.chain(path, r.deep, func(target pkg) bool { return r.forbids(path, target) })
			if way != nil {
				found = append(found, fmt.Sprintf("%s, but:\n\t%s", r.says, strings.Join(way, "\n\t  imports ")))
			}
		}
	}
	slices.Sort(found)
	return found
}
