package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/cli/browse"
	"github.com/restic-manager/restic-manager/cli/kube"
	"github.com/restic-manager/restic-manager/cli/moment"
	"github.com/restic-manager/restic-manager/cli/terminal"
)

// browsing finds the host that is named, and a browser for it.
func (a *App) browsing(ctx context.Context, name string) (*browse.Browser, *v1alpha1.Host, error) {
	c, namespace, err := a.reach()
	if err != nil {
		return nil, nil, err
	}
	host, err := kube.GetHost(ctx, c, namespace, name)
	return &browse.Browser{Asker: a.asker(c), Terminal: a.Terminal, Now: a.now}, host, err
}

// choice are the flags that narrow the choice of a snapshot.
type choice struct{ group, at, resticHost string }

func (f *choice) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.group, "group", "", "Snapshots of this source group")
	flags.StringVar(&f.at, "at", "", `The newest snapshot that is not younger than a time: "yesterday 18:00", "2h ago", 2026-11-28T14:30:00Z`)
	flags.StringVar(&f.resticHost, "restic-host", "", "Snapshots of another value of restic's --host in the same repository (name.namespace of a Host)")
}

// of makes the choice of a snapshot that is named, or of none.
func (f *choice) of(a *App, snapshot string) (browse.Choice, error) {
	c := browse.Choice{Snapshot: snapshot, Group: f.group, ResticHost: f.resticHost}
	if f.at != "" {
		t, err := moment.Parse(f.at, a.now())
		if err != nil {
			return c, fmt.Errorf("--at: %w", err)
		}
		c.At = t
		if c.Snapshot == browse.Latest {
			c.Snapshot = ""
		}
	}
	return c, c.Check()
}

func (a *App) snapshotsCommand() *cobra.Command {
	var output string
	var q wire.SnapshotsQuery
	c := &cobra.Command{
		Use:     "snapshots HOST",
		Aliases: []string{"snapshot"},
		Short:   "List the snapshots of a machine, the oldest first",
		Example: `  kubectl restic snapshots web-1
  kubectl restic snapshots web-1 --group etc -o wide

  # All that is in the repository, of other machines too
  kubectl restic snapshots web-1 --all-hosts`,
		Args:              exactly("HOST"),
		ValidArgsFunction: complete(a.hosts()),
		RunE: func(c *cobra.Command, args []string) error {
			format, err := terminal.ParseFormat(output, allFormats...)
			if err != nil {
				return err
			}
			b, host, err := a.browsing(c.Context(), args[0])
			if err != nil {
				return err
			}
			return b.Snapshots(c.Context(), host, q, format)
		},
	}
	formatFlag(c, &output, allFormats...)
	c.Flags().StringVar(&q.Group, "group", "", "Only of this source group")
	c.Flags().StringVar(&q.ResticHost, "restic-host", "", "Those of another value of restic's --host (name.namespace of a Host)")
	c.Flags().BoolVar(&q.AllHosts, "all-hosts", false, "Those of all hosts in the repository")
	c.MarkFlagsMutuallyExclusive("restic-host", "all-hosts")
	a.completeFlag(c, "group", a.groups())
	return c
}

func (a *App) lsCommand() *cobra.Command {
	var output string
	var chosen choice
	var recursive bool
	c := &cobra.Command{
		Use:   "ls HOST SNAPSHOT [PATH]",
		Short: "List the files in a snapshot",
		Example: `  kubectl restic ls web-1 latest --group etc /etc/nginx
  kubectl restic ls web-1 1a2b3c4d -R
  kubectl restic ls web-1 latest --at "yesterday 18:00" /srv`,
		Args:              between(2, "HOST", "SNAPSHOT", "PATH"),
		ValidArgsFunction: complete(a.hosts(), a.snapshots()),
		RunE: func(c *cobra.Command, args []string) error {
			format, err := terminal.ParseFormat(output, allFormats...)
			if err != nil {
				return err
			}
			path := ""
			if len(args) == 3 {
				if path = args[2]; !strings.HasPrefix(path, "/") {
					return fmt.Errorf("PATH %q must be absolute: snapshots hold absolute paths", path)
				}
			}
			snapshot, err := chosen.of(a, args[1])
			if err != nil {
				return err
			}
			b, host, err := a.browsing(c.Context(), args[0])
			if err != nil {
				return err
			}
			return b.Files(c.Context(), host, snapshot, path, recursive, format)
		},
	}
	formatFlag(c, &output, allFormats...)
	chosen.add(c.Flags())
	c.Flags().BoolVarP(&recursive, "recursive", "R", false, "The whole tree below")
	a.completeFlag(c, "group", a.groups())
	return c
}

func (a *App) findCommand() *cobra.Command {
	var output, snapshot string
	var chosen choice
	var ignoreCase bool
	c := &cobra.Command{
		Use:   "find HOST PATTERN",
		Short: "Find a file in the snapshots of a machine",
		Example: `  kubectl restic find web-1 nginx.conf
  kubectl restic find web-1 '/etc/**/*.conf' --snapshot latest --group etc`,
		Args:              exactly("HOST", "PATTERN"),
		ValidArgsFunction: complete(a.hosts()),
		RunE: func(c *cobra.Command, args []string) error {
			format, err := terminal.ParseFormat(output, allFormats...)
			if err != nil {
				return err
			}
			one, err := chosen.of(a, snapshot)
			if err != nil {
				return err
			}
			b, host, err := a.browsing(c.Context(), args[0])
			if err != nil {
				return err
			}
			q := wire.FindQuery{Pattern: args[1], IgnoreCase: ignoreCase, Group: chosen.group, ResticHost: chosen.resticHost}
			return b.Find(c.Context(), host, q, one, format)
		},
	}
	formatFlag(c, &output, allFormats...)
	chosen.add(c.Flags())
	c.Flags().StringVar(&snapshot, "snapshot", "", "Only in this snapshot: an id, or latest")
	c.Flags().BoolVarP(&ignoreCase, "ignore-case", "i", false, "Upper and lower case are the same")
	a.completeFlag(c, "snapshot", a.snapshots())
	a.completeFlag(c, "group", a.groups())
	return c
}

func (a *App) diffCommand() *cobra.Command {
	var output string
	var chosen choice
	c := &cobra.Command{
		Use:   "diff HOST SNAPSHOT SNAPSHOT",
		Short: "Show what differs between two snapshots",
		Long: `Shows what differs between two snapshots: + added, - removed, M content changed, T type changed, U metadata changed, ? content changed and metadata did not
(which points at damage, or at somebody who hides a change).`,
		Example:           `  kubectl restic diff web-1 1a2b3c4d latest --group etc`,
		Args:              exactly("HOST", "SNAPSHOT", "SNAPSHOT"),
		ValidArgsFunction: complete(a.hosts(), a.snapshots(), a.snapshots()),
		RunE: func(c *cobra.Command, args []string) error {
			format, err := terminal.ParseFormat(output, allFormats...)
			if err != nil {
				return err
			}
			var ends [2]browse.Choice
			for i := range ends {
				if ends[i], err = chosen.of(a, args[1+i]); err != nil {
					return err
				}
			}
			b, host, err := a.browsing(c.Context(), args[0])
			if err != nil {
				return err
			}
			return b.Diff(c.Context(), host, ends[0], ends[1], format)
		},
	}
	formatFlag(c, &output, allFormats...)
	c.Flags().StringVar(&chosen.group, "group", "", "What latest means: the newest of this source group")
	c.Flags().StringVar(&chosen.resticHost, "restic-host", "", "What latest means: of another value of restic's --host")
	a.completeFlag(c, "group", a.groups())
	return c
}
