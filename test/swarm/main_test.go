package swarm_test

import (
	"os"
	"testing"

	"github.com/restic-manager/restic-manager/test/env"
)

func TestMain(m *testing.M) { os.Exit(env.Main(m)) }
