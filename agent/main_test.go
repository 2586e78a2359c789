package agent

import (
	"os"
	"testing"

	"github.com/restic-manager/restic-manager/agent/dump"
)

// TestMain lets this program stand for the agent's where restic runs a command through it.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == dump.Subcommand {
		os.Exit(dump.Main(os.Args[2:]))
	}
	os.Exit(m.Run())
}
