// Command clidocs writes docs/cli: a page for each command of the plugin, and its man pages.
package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/restic-manager/restic-manager/cli"
	"github.com/restic-manager/restic-manager/cli/terminal"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: clidocs FOLDER")
		os.Exit(2)
	}
	if err := write(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "clidocs:", err)
		os.Exit(1)
	}
}

func write(folder string) error {
	man := filepath.Join(folder, "man")
	if err := os.MkdirAll(man, 0o755); err != nil {
		return err
	}
	app := cli.New(genericiooptions.IOStreams{In: strings.NewReader(""), Out: io.Discard, ErrOut: io.Discard}, &terminal.Interrupts{})
	root := app.Command()
	root.InitDefaultHelpFlag()
	same(root)
	if err := doc.GenMarkdownTree(root, folder); err != nil {
		return err
	}
	// A page must not change with the day on which it is made.
	day := time.Date(2026, time.November, 28, 0, 0, 0, 0, time.UTC)
	header := &doc.GenManHeader{Section: "1", Source: "restic-manager", Manual: "kubectl restic", Date: &day}
	return doc.GenManTree(root, header, man)
}

// same makes the pages the same on every machine: the default of --cache-dir holds the home of whoever makes them.
func same(c *cobra.Command) {
	if f := c.PersistentFlags().Lookup("cache-dir"); f != nil {
		f.DefValue = "~/.kube/cache"
	}
}
