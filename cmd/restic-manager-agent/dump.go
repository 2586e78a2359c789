package main

import (
	"os"

	"github.com/restic-manager/restic-manager/agent/dump"
	"github.com/spf13/cobra"
)

// dumpCommand is what restic starts to back up the output of a command. It is not for people, and its exit codes are those of package dump.
func dumpCommand() *cobra.Command {
	return &cobra.Command{
		Use:                dump.Subcommand + " [--report-fd=N] -- PROGRAM [ARGUMENT…]",
		Short:              "Run a command whose output restic backs up",
		Hidden:             true,
		DisableFlagParsing: true,
		Run:                func(_ *cobra.Command, args []string) { os.Exit(dump.Main(args)) },
	}
}
