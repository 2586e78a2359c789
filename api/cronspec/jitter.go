package cronspec

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
	"strings"
	"time"
)

// JitterKey is the key of a host's jitter in a schedule.
func JitterKey(namespace, host, schedule string) string {
	return strings.Join([]string{namespace, host, schedule}, "\n")
}

// Jitter is a delay in [0, window), in whole milliseconds: always the same for the same key, and evenly spread over many keys. A window that is not
// positive gives 0.
func Jitter(key string, window time.Duration) time.Duration {
	if window <= 0 {
		return 0
	}
	sum := sha256.Sum256([]byte("restic-manager/jitter/v1\n" + key))
	slot, _ := bits.Mul64(binary.BigEndian.Uint64(sum[:8]), uint64(window.Milliseconds()))
	return time.Duration(slot) * time.Millisecond
}
