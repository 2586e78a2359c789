package install

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/restic-manager/restic-manager/test/computer"
	"github.com/restic-manager/restic-manager/test/node"
)

func TestMain(m *testing.M) {
	// Before the tests have a network of their own, which leads nowhere.
	if os.Geteuid() == 0 && !node.Inside() {
		if err := computer.InstallTools(context.Background(), computer.Tools...); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	node.Main(m)
}
