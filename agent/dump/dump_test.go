package dump

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The test program stands for the agent's: it has the subcommand too.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == Subcommand {
		os.Exit(Main(os.Args[2:]))
	}
	if len(os.Args) > 1 && os.Args[1] == leaveGroup {
		leaveTheGroup()
	}
	os.Exit(m.Run())
}

func program(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// command starts nothing yet. Its environment is what restic would have.
func command(t *testing.T, argv ...string) *exec.Cmd {
	cmd := exec.Command(program(t), append([]string{Subcommand, "--"}, argv...)...)
	cmd.Env = []string{"PATH=/usr/bin:/bin", "LANG=C.UTF-8", "HOME=/root", "TMPDIR=/tmp", "RESTIC_PASSWORD=s3cret", "AWS_SECRET_ACCESS_KEY=s3cret", "RESTIC_MANAGER_HOST=shop/web-1"}
	return cmd
}

type result struct {
	stdout, stderr string
	code           int
}

func run(t *testing.T, cmd *exec.Cmd) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

func TestTheCommandSeesNoSecretAndNoDescriptor(t *testing.T) {
	t.Parallel()
	cmd := command(t, "env")
	reading, writing, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer reading.Close()
	defer writing.Close()
	cmd.ExtraFiles = []*os.File{writing, reading}
	got := run(t, cmd)
	variables := strings.Fields(got.stdout)
	slices.Sort(variables)
	if diff := cmp.Diff([]string{"HOME=/", "LANG=C.UTF-8", "PATH=/usr/bin:/bin", "PWD=/", "RESTIC_MANAGER_HOST=shop/web-1"}, variables); diff != "" || got.code != 0 {
		t.Error(got.code, diff)
	}

	cmd = command(t, "sh", "-c", "ls /proc/$$/fd; readlink /proc/$$/cwd; wc -c </proc/$$/fd/0")
	cmd.ExtraFiles = []*os.File{writing, reading}
	if got, want := run(t, cmd).stdout, "0\n1\n2\n/\n0\n"; got != want {
		t.Errorf("descriptors, folder and input of the command: %q, want %q", got, want)
	}
}

func TestExitCodes(t *testing.T) {
	t.Parallel()
	notExecutable := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(notExecutable, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name           string
		argv           []string
		code           int
		stdout, stderr string
	}{
		{"success with output", []string{"printf", "hello"}, 0, "hello", ""},
		{"the command's own code", []string{"sh", "-c", "echo part; echo 'no such database' >&2; exit 3"}, 3, "part\n", "no such database\ndump: sh failed with exit code 3\n"},
		{"no output", []string{"true"}, ExitEmpty, "", "dump: true ended with exit code 0 and printed nothing\n"},
		{"a signal", []string{"sh", "-c", "echo part; kill -KILL $$"}, 137, "part\n", `dump: sh was ended by the signal "killed"` + "\n"},
		{"a command that does not exist", []string{"no-such-command"}, ExitNotFound, "", `dump: the command "no-such-command" cannot be started: executable file not found in $PATH` + "\n"},
		{"a path that does not exist", []string{"/no/such/command"}, ExitNotFound, "", `dump: the command "/no/such/command" cannot be started: no such file or directory` + "\n"},
		{"a file that is no program", []string{notExecutable}, ExitNotStarted, "", fmt.Sprintf("dump: the command %q cannot be started: permission denied\n", notExecutable)},
		{"arguments as they are", []string{"printf", "%s|", "a b", "--", "$HOME", "*", ""}, 0, "a b|--|$HOME|*||", ""},
		{"output of what it started and left", []string{"sh", "-c", "(sleep 0.2; echo late) &"}, 0, "late\n", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got := run(t, command(t, test.argv...))
			if diff := cmp.Diff(result{test.stdout, test.stderr, test.code}, got, cmp.AllowUnexported(result{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAWrongCommandLineIsTold(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{}, {"--"}, {"--", ""}, {"pg_dump"}, {"--report-fd=1", "--", "true"}, {"--report-fd=x", "--", "true"}} {
		cmd := command(t)
		cmd.Args = append([]string{cmd.Path, Subcommand}, args...)
		if got := run(t, cmd); got.code != exitUsage || !strings.HasPrefix(got.stderr, "dump: ") {
			t.Errorf("%q: %+v", args, got)
		}
	}
}

func TestALargeOutputPassesUnchanged(t *testing.T) {
	t.Parallel()
	const size = 300 << 20
	cmd := command(t, "head", "-c", fmt.Sprint(size), "/dev/zero")
	var counted counter
	cmd.Stdout = &counted
	if err := cmd.Run(); err != nil || counted.n != size || counted.other {
		t.Errorf("%d bytes came, all zero %v: %v", counted.n, !counted.other, err)
	}
}

type counter struct {
	n     int
	other bool
}

func (c *counter) Write(p []byte) (int, error) {
	c.n += len(p)
	c.other = c.other || len(bytes.Trim(p, "\x00")) > 0
	return len(p), nil
}

func TestTheReportTellsLinesAndOutcome(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		script  string
		lines   []string
		outcome outcome
		message string
	}{
		{"echo x; echo one >&2; echo; echo 'tw\"o' >&2; printf three >&2", []string{"one", `tw"o`, "three"}, done, "sh printed 3 bytes"},
		{"echo part; echo broken >&2; exit 9", []string{"broken"}, failed, "sh failed with exit code 9"},
		{"head -c 200000 /dev/zero | tr '\\0' x >&2; echo >&2; echo end >&2", []string{strings.Repeat("x", MaxLine) + " … (line cut)", "end"}, empty, "sh ended with exit code 0 and printed nothing"},
	} {
		reading, writing, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd := command(t)
		cmd.Args = []string{cmd.Path, Subcommand, "--report-fd=3", "--", "sh", "-c", test.script}
		cmd.ExtraFiles = []*os.File{writing}
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		writing.Close()
		var lines []string
		var ended struct {
			Line    *string
			Outcome outcome
			Message string
		}
		for decoder := json.NewDecoder(reading); ; {
			ended.Line = nil
			if err := decoder.Decode(&ended); err == io.EOF {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			if ended.Line != nil {
				lines = append(lines, *ended.Line)
			}
		}
		reading.Close()
		_ = cmd.Wait()
		if diff := cmp.Diff(test.lines, lines); diff != "" || ended.Outcome != test.outcome || ended.Message != test.message || stderr.Len() > 0 {
			t.Errorf("%s\n%s: %s, stderr %q", diff, ended.Outcome, ended.Message, stderr.String())
		}
	}
}

// dumping is a dump under way; the command and a child of it have said their process ids.
type dumping struct {
	cmd    *exec.Cmd
	stderr *bytes.Buffer
	output io.ReadCloser
	front  int
	guard  int
	pids   []int
}

// start runs the script with a child in the background that waits, and waits for both to be there.
func start(t *testing.T, cmd *exec.Cmd) *dumping {
	t.Helper()
	reading, writing, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	d := &dumping{cmd: cmd, stderr: &bytes.Buffer{}, output: reading}
	cmd.Stdout, cmd.Stderr = writing, d.stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	writing.Close()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		reading.Close()
	})
	var shell, background, guard, front int
	if n, err := fmt.Fscan(reading, &shell, &background, &guard); n != 3 {
		t.Fatal("the command did not start:", err, d.stderr)
	}
	front = parentOf(t, guard)
	d.front, d.guard, d.pids = front, guard, []int{shell, background}
	return d
}

const waits = `sleep 600 & echo $$ $! $PPID; wait`

func parentOf(t *testing.T, pid int) int {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	var state string
	var parent int
	_, after, _ := strings.Cut(string(data), ") ")
	if _, err := fmt.Sscan(after, &state, &parent); err != nil {
		t.Fatal(err)
	}
	return parent
}

// alive is false for a zombie, which nobody may have reaped yet.
func alive(pid int) bool {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, after, _ := strings.Cut(string(data), ") ")
	return !strings.HasPrefix(after, "Z")
}

func (d *dumping) gone(t *testing.T, pids ...int) {
	t.Helper()
	deadline := time.After(time.Minute)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		left := slices.DeleteFunc(slices.Clone(pids), func(pid int) bool { return !alive(pid) })
		if len(left) == 0 {
			return
		}
		select {
		case <-deadline:
			for _, pid := range left {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
			t.Fatalf("of %v these live on: %v; stderr: %s", pids, left, d.stderr)
		case <-tick.C:
		}
	}
}

func TestASignalEndsTheCommandAndAllItStarted(t *testing.T) {
	t.Parallel()
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		t.Run(signal.String(), func(t *testing.T) {
			t.Parallel()
			cleaned := filepath.Join(t.TempDir(), "cleaned")
			d := start(t, command(t, "sh", "-c", `trap 'touch "$0"; exit 0' TERM; `+waits, cleaned))
			if err := syscall.Kill(d.front, signal); err != nil {
				t.Fatal(err)
			}
			_ = d.cmd.Wait()
			d.gone(t, append(d.pids, d.guard)...)
			if code := d.cmd.ProcessState.ExitCode(); code != ExitStopped {
				t.Errorf("exit code %d, although the command ended with 0 only since it was stopped", code)
			}
			if _, err := os.Stat(cleaned); err != nil {
				t.Error("the command had no time to clean up:", err)
			}
		})
	}
}

func TestTheGuardSurvivesAKillOfItsParentAndEndsTheCommand(t *testing.T) {
	t.Parallel()
	cleaned := filepath.Join(t.TempDir(), "cleaned")
	d := start(t, command(t, "sh", "-c", `trap 'touch "$0"; exit 0' TERM; `+waits, cleaned))
	if err := syscall.Kill(d.front, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	d.gone(t, append(d.pids, d.guard)...)
	if _, err := os.Stat(cleaned); err != nil {
		t.Error("the command had no time to clean up:", err)
	}
}

func TestTheCommandEndsWithRestic(t *testing.T) {
	t.Parallel()
	// A shell stands for restic, and is killed hard.
	cmd := command(t)
	cmd.Path, cmd.Args = "/bin/sh", []string{"sh", "-c", `"$0" dump -- sh -c "$1"; exit $?`, program(t), waits}
	d := start(t, cmd)
	if d.front == cmd.Process.Pid {
		t.Fatal("the shell is not between")
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	d.gone(t, append(d.pids, d.guard, d.front)...)
}

func TestTheCommandEndsWithTheGuard(t *testing.T) {
	t.Parallel()
	d := start(t, command(t, "sh", "-c", waits))
	t.Cleanup(func() { _ = syscall.Kill(d.pids[1], syscall.SIGKILL) }) // what the command started lives on: see the package documentation
	if err := syscall.Kill(d.guard, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = d.cmd.Wait()
	d.gone(t, d.pids[0])
	if code := d.cmd.ProcessState.ExitCode(); code != 137 {
		t.Error("exit code", code)
	}
}

func TestACommandWithoutAReaderEnds(t *testing.T) {
	t.Parallel()
	d := start(t, command(t, "sh", "-c", `sleep 600 & echo $$ $! $PPID; trap '' PIPE; while :; do echo more 2>/dev/null; sleep 0.05; done`))
	d.output.Close()
	_ = d.cmd.Wait()
	d.gone(t, append(d.pids, d.guard)...)
	if code := d.cmd.ProcessState.ExitCode(); code != ExitStopped {
		t.Error("exit code", code)
	}
}

func TestACommandThatWillNotEndIsKilled(t *testing.T) {
	t.Parallel()
	began := time.Now()
	d := start(t, command(t, "sh", "-c", `trap '' TERM; `+waits+`; while :; do wait; sleep 0.1; done`))
	if err := syscall.Kill(d.front, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	_ = d.cmd.Wait()
	d.gone(t, d.pids...)
	if took := time.Since(began); took < StopGrace {
		t.Errorf("it was killed after %s, less than the grace", took)
	}
}

func TestWhatHoldsTheOutputAfterTheEndMakesAFailure(t *testing.T) {
	t.Parallel()
	d := start(t, command(t, "sh", "-c", `sleep 600 & echo $$ $! $PPID`))
	_ = d.cmd.Wait()
	d.gone(t, d.pids...)
	if code := d.cmd.ProcessState.ExitCode(); code != ExitFailed || !strings.Contains(d.stderr.String(), "nobody can tell whether it is complete") {
		t.Error(code, d.stderr)
	}
}
