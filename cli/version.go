package cli

import (
	"errors"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/restic-manager/restic-manager/cli/job"
	"github.com/restic-manager/restic-manager/internal/version"
)

func (a *App) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Show the version of this program",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			a.Terminal.Printf("kubectl-restic %s (%s, %s/%s)\n", version.Version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return nil
		},
	}
}

func isJobFailure(err error) bool { return errors.Is(err, job.ErrFailed) }
