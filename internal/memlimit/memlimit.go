// Package memlimit keeps a program below the memory limit of its container, where it is told that.
package memlimit

import (
	"os"
	"runtime/debug"
	"strconv"
)

// Env is the environment variable with the container's limit, in bytes; in a Pod, limits.memory by the downward API.
const Env = "MEMORY_LIMIT"

// Heed has the garbage collector work harder from nine tenths of the limit on: the rest is for what it does not count, such as the buffers of sockets. GOMEMLIMIT, when
// it is set, counts instead; without a limit nothing is done.
func Heed() {
	if limit := limitOf(os.Getenv("GOMEMLIMIT"), os.Getenv(Env)); limit > 0 {
		debug.SetMemoryLimit(limit)
	}
}

// limitOf is the limit to set; 0 for none.
func limitOf(own, container string) int64 {
	if own != "" {
		return 0
	}
	limit, err := strconv.ParseInt(container, 10, 64)
	if err != nil || limit <= 0 {
		return 0
	}
	return limit / 10 * 9
}
