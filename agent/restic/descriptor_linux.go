package restic

import "strconv"

// descriptorPath is how a child opens a descriptor that it inherited.
func descriptorPath(descriptor int) string { return "/proc/self/fd/" + strconv.Itoa(descriptor) }
