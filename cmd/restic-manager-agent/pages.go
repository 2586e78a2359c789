//go:build pages

package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"github.com/restic-manager/restic-manager/internal/version"
)

// With the tag pages the program writes its man pages and completions below the folder that it is given, and does nothing else: packages need them,
// and the agent itself stays small. Pages bear the date of SOURCE_DATE_EPOCH.
func init() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: SOURCE_DATE_EPOCH=SECONDS go run -tags pages ./cmd/restic-manager-agent FOLDER")
		os.Exit(exitUsage)
	}
	if err := writePages(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "pages:", err)
		os.Exit(exitFailure)
	}
	os.Exit(0)
}

func writePages(folder string) error {
	epoch, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64)
	if err != nil {
		return fmt.Errorf("SOURCE_DATE_EPOCH: %w", err)
	}
	root := newRoot(streams{strings.NewReader(""), io.Discard, io.Discard})
	root.InitDefaultHelpFlag()
	for _, c := range append(root.Commands(), root) {
		// Angle brackets would be taken for HTML on the way.
		c.Short, c.Long = strings.ReplaceAll(c.Short, "<host>", "HOST"), strings.ReplaceAll(c.Long, "<host>", "HOST")
	}
	man, completions := filepath.Join(folder, "man"), filepath.Join(folder, "completions")
	for _, dir := range []string{man, completions} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	day := time.Unix(epoch, 0).UTC()
	header := &doc.GenManHeader{Section: "1", Source: "restic-manager " + version.Version, Manual: "restic-manager-agent", Date: &day}
	if err := doc.GenManTree(root, header, man); err != nil {
		return err
	}
	return writeCompletions(root, completions)
}

// writeCompletions names each file as its shell looks for it.
func writeCompletions(root *cobra.Command, folder string) error {
	name := root.Name()
	if err := root.GenBashCompletionFileV2(filepath.Join(folder, name), true); err != nil {
		return err
	}
	if err := root.GenZshCompletionFile(filepath.Join(folder, "_"+name)); err != nil {
		return err
	}
	return root.GenFishCompletionFile(filepath.Join(folder, name+".fish"), true)
}
