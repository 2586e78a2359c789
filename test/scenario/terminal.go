package scenario

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/restic-manager/restic-manager/test/env"
	"github.com/restic-manager/restic-manager/test/tree"
)

// terminal is the fourth act: a person with kubectl restic and a kubeconfig.
func (r *Run) terminal() []step {
	return []step{
		{"kubectl restic status: the fleet at a glance", r.atAGlance},
		{"kubectl restic run backup, then its log, straight from the machine", r.runAndLog},
		{"kubectl restic snapshots, and find a file in them", r.browse},
		{"kubectl restic restore: a folder back to this terminal", r.restoreHere},
	}
}

// kubectlRestic runs a command of the plugin in a namespace and shows it with what it prints.
func (r *Run) kubectlRestic(ctx context.Context, namespace string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(r.Stack.BinDir, "kubectl-restic"), append([]string{"-n", namespace}, args...)...)
	cmd.Env = []string{"KUBECONFIG=" + r.Stack.CP.AdminKubeconfig, "HOME=" + r.Stack.Dir, "PATH=/usr/bin:/bin"}
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	err := cmd.Run()
	r.Print("   $ kubectl restic -n %s %s\n%s", namespace, strings.Join(args, " "), indent(head(out.String()+problems.String(), 12)))
	if err != nil {
		return "", fmt.Errorf("kubectl restic %s: %w: %s", args[0], err, problems.String())
	}
	return out.String(), nil
}

// head is the first lines of a text.
func head(text string, lines int) string {
	all := strings.SplitAfterN(text, "\n", lines+1)
	if len(all) <= lines {
		return text
	}
	return strings.Join(all[:lines], "") + fmt.Sprintf("… (%d lines more)\n", strings.Count(all[lines], "\n"))
}

// atAGlance looks at the fleet of the act before, in which all is well: anything else would be another exit code.
func (r *Run) atAGlance(ctx context.Context) (string, error) {
	var out string
	// A backup of this minute may be late for a moment.
	err := env.Poll(ctx, 2*time.Minute, "all machines current", func(ctx context.Context) (err error) {
		out, err = r.kubectlRestic(ctx, FleetNamespace, "status")
		return err
	})
	if err != nil {
		return "", err
	}
	for _, host := range fleetHosts {
		if !strings.Contains(out, host) {
			return "", fmt.Errorf("%s is not in it", host)
		}
	}
	return "all machines are current: exit code 0", nil
}

func (r *Run) runAndLog(ctx context.Context) (string, error) {
	if _, err := r.kubectlRestic(ctx, Namespace, "run", "backup", Host, "--group", Group, "--wait"); err != nil {
		return "", err
	}
	log, err := r.kubectlRestic(ctx, Namespace, "logs", Host, "--group", Group)
	if err != nil {
		return "", err
	}
	if !strings.Contains(log, "snapshot ") {
		return "", fmt.Errorf("the log names no snapshot: %s", log)
	}
	return "sealed to this terminal: no gateway can read it", nil
}

func (r *Run) browse(ctx context.Context) (string, error) {
	if _, err := r.kubectlRestic(ctx, Namespace, "snapshots", Host, "--group", Group); err != nil {
		return "", err
	}
	wanted := filepath.Join(r.Source, "found-again.txt")
	if err := os.WriteFile(wanted, []byte("needed at two in the morning\n"), 0o644); err != nil {
		return "", err
	}
	if _, err := r.kubectlRestic(ctx, Namespace, "run", "backup", Host, "--group", Group, "--wait"); err != nil {
		return "", err
	}
	out, err := r.kubectlRestic(ctx, Namespace, "find", Host, "found-*.txt")
	if err != nil {
		return "", err
	}
	if !strings.Contains(out, wanted) {
		return "", fmt.Errorf("%s is not found", wanted)
	}
	return "found-again.txt is in the newest snapshot", nil
}

func (r *Run) restoreHere(ctx context.Context) (string, error) {
	here := filepath.Join(r.Stack.Dir, "terminal")
	if _, err := r.kubectlRestic(ctx, Namespace, "restore", Host, "--group", Group, r.Source, "--to-local", here, "--yes"); err != nil {
		return "", err
	}
	diffs, err := tree.CompareArchived(r.Source, filepath.Join(here, r.Source), 20)
	if err != nil {
		return "", err
	}
	if len(diffs) > 0 {
		return "", fmt.Errorf("the restored tree differs:\n  %s", strings.Join(diffs, "\n  "))
	}
	return "through the cluster, sealed end to end, and equal to the original", nil
}
