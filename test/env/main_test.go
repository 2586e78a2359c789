package env

import (
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	// The test binary is also the child that the process tests run.
	if role := os.Getenv(roleVariable); role != "" {
		os.Exit(playRole(role))
	}
	os.Exit(Main(m))
}
