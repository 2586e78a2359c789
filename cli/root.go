package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/restic-manager/restic-manager/cli/job"
	"github.com/restic-manager/restic-manager/cli/kube"
	"github.com/restic-manager/restic-manager/cli/terminal"
)

// The exit codes.
const (
	exitNotWell     = 1
	exitError       = 2
	exitInterrupted = 130
)

// errNotWell ends a command that has told all it had to tell with code 1.
var errNotWell = errors.New("not all is well")

// Command is the root command.
func (a *App) Command() *cobra.Command {
	root := &cobra.Command{
		Use:   "kubectl-restic",
		Short: "Back up machines outside the cluster with restic: states, logs, snapshots, restores, diagnosis",
		Long: `kubectl restic shows and operates the backups that restic-manager makes of machines outside the cluster.

It needs nothing but your kubeconfig and your own rights: the role view shows states, edit runs backups and reads logs and lists of files, admin enrols, restores
and reads the content of files. What a machine answers is sealed to this program: neither the cluster nor the gateway can read it.`,
		Annotations:       map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl restic"},
		SilenceUsage:      true,
		SilenceErrors:     true,
		DisableAutoGenTag: true,
		Args:              cobra.NoArgs,
		RunE:              func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetIn(a.Terminal.In)
	root.SetOut(a.Terminal.Out)
	root.SetErr(a.Terminal.ErrOut)
	a.config.AddFlags(root.PersistentFlags())
	root.PersistentFlags().StringVar(&a.gatewayAddress, "gateway-address", "",
		"host:port to reach the gateway at, in place of its own address: for a kubectl port-forward. Its name and certificate are checked all the same")
	a.completeFlag(root, "namespace", a.namespaces)
	const look, act, set = "look", "act", "set"
	root.AddGroup(&cobra.Group{ID: look, Title: "To look:"}, &cobra.Group{ID: act, Title: "To act:"}, &cobra.Group{ID: set, Title: "To set up and mend:"})
	for group, commands := range map[string][]*cobra.Command{
		look: {a.statusCommand(), a.logsCommand(), a.snapshotsCommand(), a.lsCommand(), a.findCommand(), a.diffCommand(), a.jobsCommand()},
		act:  {a.runCommand(), a.restoreCommand(), a.cancelCommand(), a.suspendCommand(), a.resumeCommand()},
		set:  {a.enrollCommand(), a.doctorCommand()},
	} {
		for _, c := range commands {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	root.AddCommand(a.versionCommand(), a.completionCommand())
	return root
}

// Execute runs a command line and returns the exit code.
func Execute(ctx context.Context, a *App, args []string) int {
	root := a.Command()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errNotWell), errors.Is(err, job.ErrFailed):
		return exitNotWell
	case errors.Is(err, job.ErrStopped), errors.Is(context.Cause(ctx), terminal.ErrInterrupted):
		return exitInterrupted
	}
	a.Terminal.Notef("%s %s", a.Terminal.Tint(terminal.Bad, "error:"), sentence(kube.Explain(err)))
	return exitError
}

// sentence is an error without control characters: a machine may have had a part in it.
func sentence(err error) string { return strings.TrimSpace(terminal.Harmless(err.Error())) }

// exactly wants so many arguments, and names them where one is missing.
func exactly(names ...string) cobra.PositionalArgs { return between(len(names), names...) }

// between wants at least so many of the named arguments.
func between(least int, names ...string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return fmt.Errorf("%s is missing: %s", names[len(args)], c.UseLine())
		case len(args) > len(names):
			return fmt.Errorf("%q is one argument too many: %s", args[len(names)], c.UseLine())
		}
		return nil
	}
}

// formatFlag adds -o.
func formatFlag(c *cobra.Command, into *string, formats ...terminal.Format) {
	names := make([]string, len(formats))
	for i, f := range formats {
		names[i] = string(f)
	}
	c.Flags().StringVarP(into, "output", "o", "", "Output format: "+strings.Join(names, ", "))
	_ = c.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(names, cobra.ShellCompDirectiveNoFileComp))
}

var allFormats = []terminal.Format{terminal.FormatWide, terminal.FormatJSON, terminal.FormatYAML, terminal.FormatName}
