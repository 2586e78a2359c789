// restic-manager-controller reconciles the objects of restic-manager: it enrols machines, publishes what each is to run, and owns
// every condition. It never talks to a machine; the gateway does.
package main

import (
	"fmt"
	"os"
	"runtime/debug"

	// A container image may have no zone database, and time zones of Schedules must mean the same everywhere.
	_ "time/tzdata"

	"github.com/restic-manager/restic-manager/internal/memlimit"
	ctrl "sigs.k8s.io/controller-runtime"
)

func main() {
	// Most of what is in memory is the cache, and stays: it is collected half as often as by default. memlimit bounds what that may take.
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(200)
	}
	memlimit.Heed()
	if err := newCommand().ExecuteContext(ctrl.SetupSignalHandler()); err != nil {
		fmt.Fprintln(os.Stderr, "restic-manager-controller:", err)
		os.Exit(1)
	}
}
