//go:build unix && !linux

package restic

import "strconv"

// descriptorPath is how a child opens a descriptor that it inherited.
func descriptorPath(descriptor int) string { return "/dev/fd/" + strconv.Itoa(descriptor) }
