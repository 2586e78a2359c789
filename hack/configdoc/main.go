// Command configdoc writes docs/configuration.md and the chart's README.md: the chart's values from the comments in values.yaml, and the flags of both programs from
// their help.
package main

import (
	"embed"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/template"
)

//go:embed *.md.tmpl
var pages embed.FS

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: configdoc VALUES_YAML OUTPUT_DIR")
		os.Exit(2)
	}
	if err := write(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "configdoc:", err)
		os.Exit(1)
	}
}

func write(valuesFile, out string) error {
	data, err := os.ReadFile(valuesFile)
	if err != nil {
		return err
	}
	rows, err := values(data)
	if err != nil {
		return fmt.Errorf("%s: %w", valuesFile, err)
	}
	content := struct {
		Values                     string
		Controller, Gateway, Check string
	}{Values: table(rows)}
	for to, command := range map[*string][]string{
		&content.Controller: {"restic-manager-controller"}, &content.Gateway: {"restic-manager-gateway"}, &content.Check: {"restic-manager-gateway", "check"},
	} {
		if *to, err = flags(command[0], command[1:]...); err != nil {
			return err
		}
	}
	parsed, err := template.ParseFS(pages, "*.md.tmpl")
	if err != nil {
		return err
	}
	for page, name := range map[string]string{
		"README.md.tmpl": filepath.Join(out, "charts", "restic-manager", "README.md"), "configuration.md.tmpl": filepath.Join(out, "docs", "configuration.md"),
	} {
		var text strings.Builder
		if err := parsed.ExecuteTemplate(&text, page, content); err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(name, []byte(text.String()), 0o644); err != nil {
			return err
		}
	}
	return nil
}
