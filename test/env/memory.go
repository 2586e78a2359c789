package env

import (
	"fmt"
	"os"
	"strings"
)

// PeakMemory is the largest resident size that the running child has had, in bytes.
func (p *Process) PeakMemory() (int64, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(raw)) {
		var kilobytes int64
		if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kilobytes); n == 1 {
			return kilobytes << 10, nil
		}
	}
	return 0, fmt.Errorf("the kernel tells no VmHWM of %s", p.Name)
}
