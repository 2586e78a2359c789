package cli

import (
	"fmt"

	"github.com/spf13/cobra"
)

func (a *App) completionCommand() *cobra.Command {
	shells := []string{"bash", "zsh", "fish", "powershell"}
	return &cobra.Command{
		Use:   "completion bash|zsh|fish|powershell",
		Short: "Print the script for shell completion",
		Long: `Prints the script for completion of kubectl-restic.

So that kubectl completes "kubectl restic …" too, it needs a program kubectl_complete-restic in the PATH:

  printf '#!/bin/sh\nexec kubectl-restic __complete "$@"\n' > ~/.local/bin/kubectl_complete-restic
  chmod +x ~/.local/bin/kubectl_complete-restic

Hosts, groups, jobs and schedules come from the cluster, snapshots from the machine itself.`,
		Example:   `  source <(kubectl-restic completion bash)`,
		Args:      exactly("the shell"),
		ValidArgs: shells,
		RunE: func(c *cobra.Command, args []string) error {
			root, out := c.Root(), a.Terminal.Out
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(out, true)
			case "zsh":
				return root.GenZshCompletion(out)
			case "fish":
				return root.GenFishCompletion(out, true)
			case "powershell":
				return root.GenPowerShellCompletionWithDesc(out)
			}
			return fmt.Errorf("there is no completion for %q: one of %v", args[0], shells)
		},
	}
}
