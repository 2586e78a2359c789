package stack

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/test/env"
)

// Machine says which machine enrols as which Host.
type Machine struct {
	Namespace string
	Host      string
	// Flags of enroll, for instance --allow-restore=/srv.
	Flags []string
	// Restic is the binary that the machine has, default: the newest that is tested.
	Restic string
	// Unprivileged takes from a root agent the capabilities that let it read what modes forbid, so that an unreadable file is one.
	Unprivileged bool
}

// Agent is one machine: a folder with its configuration and state, and the agent's process.
type Agent struct {
	*env.Process
	Machine
	Dir      string
	Config   string
	StateDir string
	// EnrollOutput is what enroll printed.
	EnrollOutput string
}

// EnrollCommand waits for the command line that the controllers put into the Host's enrolment Secret.
func (s *Stack) EnrollCommand(ctx context.Context, namespace, host string) (string, error) {
	c, err := s.Client()
	if err != nil {
		return "", err
	}
	var secret corev1.Secret
	key := client.ObjectKey{Namespace: namespace, Name: v1alpha1.EnrollmentSecretName(host)}
	err = env.Poll(ctx, time.Minute, "Secret "+key.String(), func(ctx context.Context) error { return c.Get(ctx, key, &secret) })
	if err != nil {
		return "", err
	}
	return string(secret.Data["command"]), nil
}

// NewMachine makes a machine's folder, without enrolling it.
func (s *Stack) NewMachine(m Machine) (*Agent, error) {
	dir := filepath.Join(s.Dir, "machines", m.Namespace, m.Host)
	a := &Agent{Machine: m, Dir: dir, Config: filepath.Join(dir, "etc", "agent.yaml"), StateDir: filepath.Join(dir, "var")}
	for _, d := range []string{filepath.Dir(a.Config), a.StateDir} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, err
		}
	}
	if a.Restic == "" {
		path, err := env.Binary("", env.Restic)
		if err != nil {
			return nil, err
		}
		a.Restic = path
	}
	name := "agent-" + m.Namespace + "-" + m.Host
	program := filepath.Join(s.BinDir, "restic-manager-agent")
	args := []string{"run", "--config=" + a.Config}
	if m.Unprivileged && os.Geteuid() == 0 {
		args = append([]string{"--bounding-set=-dac_override,-dac_read_search", program}, args...)
		program = "/usr/bin/setpriv"
	}
	a.Process = env.NewProcess(env.Command{
		Name: name, Path: program, Args: args, Dir: dir,
		Env: []string{"PATH=/usr/bin:/bin"}, LogFile: s.LogFile(name), PIDFile: filepath.Join(s.Dir, "run", name+".pid"),
		Grace: 75 * time.Second, Detach: s.Detach, Log: s.Log,
	})
	return a, nil
}

// Enroll runs the very command line of the Host's enrolment Secret in a shell, as a person would paste it, with the flags that make
// the machine a folder. The line goes to the shell's stdin: the token stands in no argv.
func (s *Stack) Enroll(ctx context.Context, m Machine) (*Agent, error) {
	a, err := s.NewMachine(m)
	if err != nil {
		return nil, err
	}
	line, err := s.EnrollCommand(ctx, m.Namespace, m.Host)
	if err != nil {
		return nil, err
	}
	return a, s.RunEnroll(ctx, a, line)
}

// RunEnroll runs an enrolment command line on a machine.
func (s *Stack) RunEnroll(ctx context.Context, a *Agent, line string) error {
	line = strings.TrimSpace(line) + " --config=" + a.Config + " --state-dir=" + a.StateDir + " --restic=" + a.Restic
	for _, flag := range a.Flags {
		line += " " + flag
	}
	shell := exec.CommandContext(ctx, "/bin/sh")
	shell.Stdin = strings.NewReader(line + "\n")
	shell.Env = []string{"PATH=" + s.shimDir() + ":" + s.BinDir + ":/usr/bin:/bin"}
	out, err := shell.CombinedOutput()
	a.EnrollOutput = string(out)
	if err != nil {
		return fmt.Errorf("enroll %s/%s: %w: %s", a.Namespace, a.Host, err, strings.TrimSpace(string(out)))
	}
	return nil
}

func (s *Stack) shimDir() string { return filepath.Join(s.Dir, "shim") }

// writeShim makes a sudo that stays who it is: machines here are folders of the user who runs the stack.
func (s *Stack) writeShim() error {
	if err := os.MkdirAll(s.shimDir(), 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(s.shimDir(), "sudo"), []byte("#!/bin/sh\nexec \"$@\"\n"), 0o755)
}
