//go:build unix && !linux

package dump

import "os"

func self() (string, error) { return os.Executable() }

func closeOnExec() { closeOnExecBelow(1024) }
