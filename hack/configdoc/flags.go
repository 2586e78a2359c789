package main

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
)

// usage is a flag in the help of a command: name, type, text.
var usage = regexp.MustCompile(`(?m)^ +(?:-\w, )?(--[\w-]+)(?: (\S+))? {2,}(.+)$`)

// flags returns the flags of a program in ./cmd as a table for Markdown. The programs tell them by themselves: they are not importable.
func flags(program string, args ...string) (string, error) {
	command := exec.Command("go", append(append([]string{"run", "./cmd/" + program}, args...), "--help")...)
	command.Env = append(os.Environ(), "POD_NAMESPACE=") // a default that follows the environment
	command.Stderr = os.Stderr
	out, err := command.Output()
	if err != nil {
		return "", fmt.Errorf("%s --help: %w", program, err)
	}
	return flagTable(program, string(out))
}

func flagTable(program, help string) (string, error) {
	found := usage.FindAllStringSubmatch(help, -1)
	var table strings.Builder
	table.WriteString("| flag | type | meaning |\n|---|---|---|\n")
	rows := 0
	for _, m := range found {
		if m[1] == "--help" || m[1] == "--version" {
			continue
		}
		kind := m[2]
		if kind == "" {
			kind = "bool"
		}
		fmt.Fprintf(&table, "| `%s` | %s | %s |\n", m[1], kind, cell(m[3]))
		rows++
	}
	if rows == 0 {
		return "", fmt.Errorf("%s --help names no flag", program)
	}
	return table.String(), nil
}
