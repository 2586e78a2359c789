package dump

import (
	"os"
	"slices"
	"strings"
	"syscall"
)

// passed are the variables, beside those that begin with variablePrefix, which a command gets.
var passed = []string{"PATH", "LANG"}

const variablePrefix = "RESTIC_MANAGER_"

// cleanEnvironment is what a command may see of an environment.
func cleanEnvironment(environment []string) []string {
	out := []string{"HOME=/"}
	for _, entry := range environment {
		name, _, _ := strings.Cut(entry, "=")
		if slices.Contains(passed, name) || strings.HasPrefix(name, variablePrefix) {
			out = append(out, entry)
		}
	}
	slices.Sort(out)
	return out
}

// clean makes this process's environment that of the command, so that no later step can pass on more.
func clean() {
	kept := cleanEnvironment(os.Environ())
	os.Clearenv()
	for _, entry := range kept {
		name, value, _ := strings.Cut(entry, "=")
		_ = os.Setenv(name, value) // came from an environment, so it fits in one
	}
}

// closeOnExecBelow lets no child inherit a descriptor from 3 to limit; a number that is not open does not mind.
func closeOnExecBelow(limit int) {
	for descriptor := 3; descriptor < limit; descriptor++ {
		syscall.CloseOnExec(descriptor)
	}
}
