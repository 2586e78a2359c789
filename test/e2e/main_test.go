package e2e

import (
	"os"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/test/scenario"
	"github.com/restic-manager/restic-manager/test/stack"
)

var shared = stack.Shared{Options: stack.Options{Gateways: 2, ControllerArgs: scenario.ControllerArgs()}}

func TestMain(m *testing.M) { os.Exit(shared.Main(m)) }

func theStack(t *testing.T) (*stack.Stack, client.Client) {
	t.Helper()
	return shared.Get(t)
}
