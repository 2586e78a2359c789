package dump

import (
	"os"
	"strconv"
	"syscall"
)

// self is this program, even after its file was replaced.
func self() (string, error) { return "/proc/self/exe", nil }

// closeOnExec lets no child inherit what this process inherited beyond the standard descriptors.
func closeOnExec() {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		closeOnExecBelow(1024)
		return
	}
	for _, entry := range entries {
		if descriptor, err := strconv.Atoi(entry.Name()); err == nil && descriptor > 2 {
			syscall.CloseOnExec(descriptor)
		}
	}
}
