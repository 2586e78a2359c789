package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"
)

// title says what the table below it is of.
func title(of string) string {
	return fmt.Sprintf("%s, %s, commit %s, %s", of, time.Now().UTC().Format(time.DateOnly), commit(), machine())
}

func commit() string {
	out, err := exec.Command("git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}

// machine is what a reader needs to know of it.
func machine() string {
	model := "unknown processor"
	if raw, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(raw)) {
			if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	return fmt.Sprintf("%d × %s, %s", runtime.NumCPU(), model, runtime.Version())
}

// writePage replaces what stands between the marks of a name.
func writePage(file, name, content string) error {
	raw, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	begin, end := "<!-- bench:"+name+" -->\n", "<!-- end:"+name+" -->\n"
	before, rest, found := strings.Cut(string(raw), begin)
	_, after, ended := strings.Cut(rest, end)
	if !found || !ended {
		return errors.New(file + " has no place for this table: " + strings.TrimSpace(begin) + " and " + strings.TrimSpace(end) + " on lines of their own")
	}
	return os.WriteFile(file, []byte(before+begin+content+"\n"+end+after), 0o644)
}
