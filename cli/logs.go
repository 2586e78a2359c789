package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/restic-manager/restic-manager/cli/logs"
	"github.com/restic-manager/restic-manager/cli/moment"
)

func (a *App) logsCommand() *cobra.Command {
	var o logs.Options
	var since string
	c := &cobra.Command{
		Use:   "logs HOST|JOB",
		Short: "Show the log of a job, live if wanted",
		Long: `Shows the whole log of a job, straight from its machine. A host's job is the one that runs, or else the one that began last.

With -f the log goes on until the job has ended. When the machine, the gateway or the network goes away meanwhile, it is taken up again where it broke off: nothing
is lost and nothing comes twice.`,
		Example: `  # What the machine does right now, each file
  kubectl restic logs web-1 -f -v

  # The last backup of one group, and the one before
  kubectl restic logs web-1 --group etc
  kubectl restic logs web-1 --group etc --previous

  # A job
  kubectl restic logs job/backup-web-1-x7f2k -f`,
		Args:              exactly("HOST or JOB"),
		ValidArgsFunction: complete(either(a.hosts(), a.jobs(false))),
		RunE: func(c *cobra.Command, args []string) error {
			if since != "" {
				t, err := moment.Parse(since, a.now())
				if err != nil {
					return fmt.Errorf("--since: %w", err)
				}
				o.Since = &t
			}
			if err := o.Check(); err != nil {
				return err
			}
			kubeClient, namespace, err := a.reach()
			if err != nil {
				return err
			}
			target, err := logs.Find(c.Context(), kubeClient, namespace, args[0])
			if err != nil {
				return err
			}
			return (&logs.Viewer{Asker: a.asker(kubeClient), Terminal: a.Terminal}).Show(c.Context(), target, o)
		},
	}
	c.Flags().BoolVarP(&o.Follow, "follow", "f", false, "Go on until the job has ended")
	c.Flags().BoolVarP(&o.Verbose, "verbose", "v", false, "A line for each file; with -f, and only of a job that begins while somebody follows")
	c.Flags().BoolVar(&o.Previous, "previous", false, "The job before")
	c.Flags().StringVar(&since, "since", "", `Only lines since a time: "10m", "2h ago", "yesterday 18:00"`)
	c.Flags().StringVar(&o.Group, "group", "", "Of a host: the job of this source group")
	a.completeFlag(c, "group", a.groups())
	return c
}
