package footprint

import (
	"bytes"
	"fmt"
	"os"
	"runtime/debug"
	"strings"

	"golang.org/x/sys/unix"
)

// resident is the memory that this process has, in bytes.
func resident() (int64, bool) {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, false
	}
	var size, pages int64
	if _, err := fmt.Fscan(bytes.NewReader(text), &size, &pages); err != nil {
		return 0, false
	}
	return pages * int64(os.Getpagesize()), true
}

// release gives free heap back, and the pages of the program's file.
func release() {
	debug.FreeOSMemory()
	program, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return
	}
	maps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		return
	}
	for _, m := range clean(string(maps), program) {
		// An error means that they stay, which harms nothing.
		_, _, _ = unix.Syscall(unix.SYS_MADVISE, m.start, m.length, unix.MADV_DONTNEED)
	}
}

// mapping is a part of the address space.
type mapping struct{ start, length uintptr }

// clean lists where /proc/self/smaps says that pages of the program's file lie which nobody may write to, and nobody has written to: data, and what a linker
// relocated before it was made read-only, would be lost.
func clean(smaps, program string) []mapping {
	var found []mapping
	var last *mapping
	for line := range strings.Lines(smaps) {
		if start, length, ok := pagesOf(line, program); ok {
			last = &mapping{start, length}
			continue
		}
		if strings.Contains(strings.SplitN(line, " ", 2)[0], "-") { // the head of another
			last = nil
		}
		if amount, ok := strings.CutPrefix(line, "Anonymous:"); ok && last != nil {
			if strings.TrimSpace(amount) == "0 kB" {
				found = append(found, *last)
			}
			last = nil
		}
	}
	return found
}

// pagesOf reads the head of a mapping of the program's file that may not be written to.
func pagesOf(line, program string) (start, length uintptr, ok bool) {
	fields := strings.SplitN(strings.TrimSuffix(line, "\n"), " ", 6)
	if len(fields) < 6 || strings.TrimLeft(fields[5], " ") != program || fields[1] != "r-xp" && fields[1] != "r--p" {
		return 0, 0, false
	}
	var end uintptr
	if _, err := fmt.Sscanf(fields[0], "%x-%x", &start, &end); err != nil || end <= start {
		return 0, 0, false
	}
	return start, end - start, true
}
