package cli

import (
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/restic-manager/restic-manager/cli/enrol"
)

func (a *App) enrollCommand() *cobra.Command {
	var r enrol.Request
	var caFile string
	c := &cobra.Command{
		Use:     "enroll HOST",
		Aliases: []string{"enrol"},
		Short:   "Enrol a machine, and follow it to its first backup",
		Long: `Prints the line to paste on the machine and shows each step until the first backup is done. With --repository it makes the Host where there is none;
without --credentials-secret a password is made, and for a rest-server the line for its user file is printed.

Takes the role admin. The line holds a token that is good once, for an hour.`,
		Example: `  # A machine whose Host exists
  kubectl restic enroll web-1

  # All of it, with restores below /srv allowed by the machine
  kubectl restic enroll web-1 --repository rest:https://backup.example.com/web-1/ --machine-flags --allow-restore=/srv

  # New keys, after the machine was set up anew
  kubectl restic enroll web-1 --again`,
		Args:              exactly("HOST"),
		ValidArgsFunction: complete(a.hosts()),
		RunE: func(c *cobra.Command, args []string) error {
			kubeClient, namespace, err := a.reach()
			if err != nil {
				return err
			}
			if caFile != "" {
				pem, err := os.ReadFile(caFile)
				if err != nil {
					return fmt.Errorf("--ca-file: %w", err)
				}
				r.CABundle = string(pem)
			}
			r.Namespace, r.Name = namespace, args[0]
			return (&enrol.Enroller{Client: kubeClient, Terminal: a.Terminal, Clock: a.Clock}).Run(c.Context(), r)
		},
	}
	flags := c.Flags()
	flags.StringVar(&r.Repository, "repository", "", "Where its backups go, to make the Host: rest:https://…, s3:https://…")
	flags.StringVar(&r.Credentials, "credentials-secret", "", "The Secret with RESTIC_PASSWORD and what the storage needs; without it a password is made")
	flags.StringVar(&r.AdminCredentials, "admin-credentials-secret", "", "The Secret of who may delete, for prune and forget")
	flags.StringVar(&caFile, "ca-file", "", "A file with the authorities of the repository's certificate (PEM)")
	flags.StringToStringVar(&r.Labels, "labels", nil, "Labels of the Host, by which groups and schedules select it: role=web,site=zrh")
	flags.StringVar(&r.MachineFlags, "machine-flags", "", "Added to the line: what the machine's owner allows (restic-manager-agent enroll --help)")
	flags.BoolVar(&r.Again, "again", false, "A new token for a machine that is enrolled already")
	flags.BoolVar(&r.NoWait, "no-wait", false, "End after the line is printed")
	flags.DurationVar(&r.Timeout, "timeout", time.Hour, "How long to wait in all")
	return c
}
