package dump

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"
)

const leaveGroup = "leave-group"

// leaveTheGroup is a command that leaves its process group for the guard's, and ignores SIGTERM.
func leaveTheGroup() {
	signal.Ignore(syscall.SIGTERM)
	guard := os.Getppid()
	if err := syscall.Setpgid(0, guard); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(os.Getpid(), os.Getpid(), guard)
	<-time.After(time.Hour)
}

func TestACommandThatLeftItsProcessGroupIsEndedAllTheSame(t *testing.T) {
	t.Parallel()
	d := start(t, command(t, program(t), leaveGroup))
	if err := syscall.Kill(d.front, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	d.gone(t, append(d.pids, d.guard)...)
}
