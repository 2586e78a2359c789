package hook

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/restic-manager/restic-manager/api/wire"
)

const leaveGroup = "leave-group"

// TestMain lets this program be a hook that leaves its process group for the one of whoever started it.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == leaveGroup {
		group, err := syscall.Getpgid(os.Getppid())
		if err == nil {
			err = syscall.Setpgid(0, group)
		}
		fmt.Println("left", os.Getpid(), err)
		<-time.After(time.Hour)
	}
	os.Exit(m.Run())
}

func TestAHookThatLeftItsProcessGroupIsEndedAllTheSame(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := Call{Name: "preBackup 1", Hook: wire.Hook{Command: []string{self, leaveGroup}, TimeoutSeconds: 60}}
	ctx, cancel := context.WithCancelCause(t.Context())
	var pid int
	c.Output = func(line string) {
		if _, err := fmt.Sscanf(line, "left %d <nil>", &pid); err != nil {
			t.Errorf("the hook says %q", line)
		}
		cancel(errors.New("the job was cancelled"))
	}
	ended := make(chan error, 1)
	go func() { ended <- (&Runner{Grace: 200 * time.Millisecond}).Run(ctx, c) }()
	select {
	case err := <-ended:
		if !errors.Is(err, context.Cause(ctx)) {
			t.Errorf("error is %v", err)
		}
		gone(t, pid)
	case <-time.After(20 * time.Second):
		t.Error("a cancelled job waits for a hook that no signal reached")
		_ = syscall.Kill(pid, syscall.SIGKILL)
		<-ended
	}
}
