package install

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/restic-manager/restic-manager/test/computer"
	"github.com/restic-manager/restic-manager/test/node"
)

func TestMain(m *testing.M) {
	// Before the tests have a network of their own, which leads nowhere.
	if os.Geteuid() == 0 && !node.Inside() {
		if err := errors.Join(computer.InstallTools(context.Background(), computer.Tools...), buildAll()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	node.Main(m)
}
