package process

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// What this program is when a test starts it.
const (
	leaver = "leave-group" // leaves its process group for the test's
	parent = "be-parent"   // starts a program, and waits
)

// init keeps the main thread, which never ends, for TestMain.
func init() { runtime.LockOSThread() }

func TestMain(m *testing.M) {
	switch os.Args[len(os.Args)-1] {
	case leaver:
		group, err := syscall.Getpgid(os.Getppid())
		if err == nil {
			err = syscall.Setpgid(0, group)
		}
		fmt.Println("left", err)
		<-time.After(time.Hour)
	case parent:
		p, err := Start(&exec.Cmd{Path: "/bin/sleep", Args: []string{"sleep", "600"}})
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(p.cmd.Process.Pid)
		<-time.After(time.Hour)
	}
	os.Exit(m.Run())
}

// run starts the program, which is killed at the end of the test, and returns where its output can be read.
func run(t *testing.T, argv ...string) (*Process, *bufio.Reader) {
	t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p, err := Start(&exec.Cmd{Path: argv[0], Args: argv, Stdout: write})
	write.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Signal(syscall.SIGKILL)
		p.Reap()
		read.Close()
	})
	return p, bufio.NewReader(read)
}

func shell(t *testing.T, script string) (*Process, *bufio.Reader) {
	t.Helper()
	return run(t, "/bin/sh", "-c", script)
}

func self(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// pidFrom reads the line with the id of a process.
func pidFrom(t *testing.T, output io.Reader) (pid int) {
	t.Helper()
	if _, err := fmt.Fscanln(output, &pid); err != nil {
		t.Fatal("no process id came:", err)
	}
	return pid
}

func ended(t *testing.T, p *Process) {
	t.Helper()
	select {
	case <-p.Exited():
	case <-time.After(20 * time.Second):
		t.Fatal("the program did not end")
	}
}

// stateOf is the letter of /proc/PID/stat, or "" when there is no such process.
func stateOf(pid int) string {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	_, after, _ := strings.Cut(string(data), ") ")
	return after[:1]
}

func poll(t *testing.T, what string, ready func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ready() {
		select {
		case <-deadline:
			t.Fatal("waited in vain for", what)
		case <-tick.C:
		}
	}
}

// gone waits until a process was ended; one that nobody has reaped yet is a zombie.
func gone(t *testing.T, pid int) {
	t.Helper()
	t.Cleanup(func() {
		if t.Failed() {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	})
	poll(t, fmt.Sprintf("the end of process %d", pid), func() bool {
		state := stateOf(pid)
		return state == "" || state == "Z"
	})
}

func TestTheProgramLeadsAGroupOfItsOwn(t *testing.T) {
	p, _ := shell(t, "exec sleep 600")
	pid := p.cmd.Process.Pid
	if group, err := syscall.Getpgid(pid); err != nil || group != pid {
		t.Errorf("process %d is in the group %d, %v", pid, group, err)
	}
}

func TestASignalReachesTheWholeGroup(t *testing.T) {
	p, output := shell(t, "sleep 600 & echo $!; wait")
	background := pidFrom(t, output)
	p.Signal(syscall.SIGTERM)
	ended(t, p)
	gone(t, background)
	if status := p.Reap().Sys().(syscall.WaitStatus); status.Signal() != syscall.SIGTERM {
		t.Errorf("it ended with %v", status)
	}
}

func TestASignalReachesAProgramThatLeftItsGroup(t *testing.T) {
	p, output := run(t, self(t), leaver)
	if line, err := output.ReadString('\n'); line != "left <nil>\n" {
		t.Fatalf("the program says %q, %v", line, err)
	}
	p.Signal(syscall.SIGTERM)
	ended(t, p)
}

func TestAnEndedProgramKeepsItsIDUntilItIsReaped(t *testing.T) {
	p, output := shell(t, "sleep 600 & echo $!; exit 7")
	background := pidFrom(t, output)
	ended(t, p)
	pid := p.cmd.Process.Pid
	if state := stateOf(pid); state != "Z" {
		t.Errorf("the program is in the state %q before Reap, want a zombie", state)
	}
	p.Signal(syscall.SIGKILL)
	gone(t, background)
	if code := p.Reap().ExitCode(); code != 7 {
		t.Errorf("exit code %d, want 7", code)
	}
	if state := stateOf(pid); state != "" {
		t.Errorf("the program is in the state %q after Reap", state)
	}
	if again := p.Reap(); again != p.cmd.ProcessState {
		t.Errorf("a second Reap gives %v", again)
	}
}

func TestReapSparesWhatIsLeftAndEndsSignals(t *testing.T) {
	p, output := shell(t, "sleep 600 & echo $!")
	background := pidFrom(t, output)
	p.Reap()
	// The group is not empty, so the id cannot be somebody else's, and a signal would reach this one.
	p.Signal(syscall.SIGSTOP)
	if state := stateOf(background); state == "T" || state == "Z" || state == "" {
		t.Errorf("what the program left behind is in the state %q", state)
	}
	if err := syscall.Kill(background, syscall.SIGKILL); err != nil {
		t.Error(err)
	}
}

func TestAProgramThatIsNotThereIsAnError(t *testing.T) {
	if p, err := Start(&exec.Cmd{Path: "/no/such/program"}); !os.IsNotExist(err) || p != nil {
		t.Errorf("Start gives %v, %v", p, err)
	}
}

func TestTheProgramOutlivesTheThreadThatAskedForIt(t *testing.T) {
	in, inWrite, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	outRead, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []*os.File{in, inWrite, outRead, out} {
		defer file.Close()
	}
	var p *Process
	var tid int
	begun := make(chan error)
	go func() {
		runtime.LockOSThread() // and no unlock: the thread ends with this goroutine
		tid = syscall.Gettid()
		var err error
		p, err = Start(&exec.Cmd{Path: "/bin/cat", Args: []string{"cat"}, Stdin: in, Stdout: out})
		begun <- err
	}()
	if err := <-begun; err != nil {
		t.Fatal(err)
	}
	defer p.Reap()
	defer p.Signal(syscall.SIGKILL)
	out.Close()
	poll(t, "the end of the thread", func() bool {
		_, err := os.Stat(fmt.Sprintf("/proc/self/task/%d", tid))
		return os.IsNotExist(err)
	})
	if _, err := fmt.Fprintln(inWrite, "alive"); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(outRead).ReadString('\n'); line != "alive\n" {
		t.Errorf("the program says %q, %v", line, err)
	}
}

func TestTheProgramDiesWithAParentThatIsKilledHard(t *testing.T) {
	helper := exec.Command(self(t), parent)
	output, err := helper.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := helper.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	_, scanErr := fmt.Fscanln(output, &pid)
	if err := helper.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = helper.Wait()
	if scanErr != nil {
		t.Fatal("the helper did not get to work:", scanErr)
	}
	gone(t, pid)
}
