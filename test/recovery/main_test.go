package recovery

import (
	"os"
	"testing"

	"github.com/restic-manager/restic-manager/test/scenario"
	"github.com/restic-manager/restic-manager/test/stack"
)

var shared = stack.Shared{Options: stack.Options{Gateways: 1, ControllerArgs: scenario.ControllerArgs()}}

func TestMain(m *testing.M) { os.Exit(shared.Main(m)) }
