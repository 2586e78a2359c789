package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/cli/kube"
	"github.com/restic-manager/restic-manager/cli/restore"
)

// restoreFlags are those that are not part of a request as they are.
type restoreFlags struct {
	choice
	snapshot, onto, overwrite, toLocal, tar string
}

func (a *App) restoreCommand() *cobra.Command {
	var f restoreFlags
	var q restore.Request
	c := &cobra.Command{
		Use:   "restore HOST [PATH...]",
		Short: "Bring files back, to a machine or to this terminal",
		Long: `Restores paths of a snapshot, or all of it: by default on the machine itself, into a fresh folder below the agent's own, with --target into another one, which
the machine must have allowed (enroll --allow-restore). --onto names another machine with the same repository; the first one may be dead. --to-local and --tar bring
the files here, whatever becomes of the machine's disks.

It names the snapshot, tries it dry, shows what would be restored and asks. --yes skips both.

A restore on a machine takes create on hostjobs/restore, files to this terminal create on hostqueries/content: both are in the role admin.`,
		Example: `  # One folder as it was yesterday evening, next to what is there now
  kubectl restic restore web-1 /etc/nginx --at "yesterday 18:00"

  # Everything, in place
  kubectl restic restore web-1 --group etc --target / --overwrite IfChanged

  # The files of a dead machine onto its successor
  kubectl restic restore web-1 /srv --onto web-2

  # Here: into a folder, or as an archive
  kubectl restic restore web-1 /etc/nginx --to-local ./restored
  kubectl restic restore web-1 /srv --tar - | ssh web-2 tar x -C /`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return fmt.Errorf("HOST is missing: %s", c.UseLine())
			}
			return nil
		},
		ValidArgsFunction: complete(a.hosts()),
		RunE: func(c *cobra.Command, args []string) error {
			q.Paths = args[1:]
			return a.restore(c.Context(), args[0], f, q)
		},
	}
	f.choice.add(c.Flags())
	flags := c.Flags()
	flags.StringVar(&f.snapshot, "snapshot", "", "An id, or latest (default)")
	flags.StringVar(&f.onto, "onto", "", "Another host that gets the files; it must have the same repository")
	flags.StringVar(&q.Target, "target", "", "A folder on the machine")
	flags.StringArrayVar(&q.Excludes, "exclude", nil, "A restic pattern of what to leave out (repeatable); not together with paths")
	flags.StringVar(&f.overwrite, "overwrite", "", "What happens to files that exist: Always, IfChanged (default on a machine), IfNewer, Never. Here: Always or Never; by default they are an error")
	flags.BoolVar(&q.Verify, "verify", false, "Read the restored files again and compare them with the snapshot")
	flags.BoolVar(&q.DryRun, "dry-run", false, "Only show what would be restored")
	flags.BoolVarP(&q.Yes, "yes", "y", false, "Do not try it dry, and do not ask")
	flags.StringVar(&f.toLocal, "to-local", "", "A folder here")
	flags.StringVar(&f.tar, "tar", "", "A file here for a tar archive of one path, or - for the output")
	c.MarkFlagsMutuallyExclusive("to-local", "tar")
	a.completeFlag(c, "group", a.groups())
	a.completeFlag(c, "snapshot", a.snapshots())
	a.completeFlag(c, "onto", a.hosts())
	policies := func(context.Context, []string) []string {
		return []string{string(v1alpha1.OverwriteAlways), string(v1alpha1.OverwriteIfChanged), string(v1alpha1.OverwriteIfNewer), string(v1alpha1.OverwriteNever)}
	}
	a.completeFlag(c, "overwrite", policies)
	return c
}

func (a *App) restore(ctx context.Context, name string, f restoreFlags, q restore.Request) error {
	var err error
	if q.Choice, err = f.choice.of(a, f.snapshot); err != nil {
		return err
	}
	switch q.Overwrite = v1alpha1.OverwritePolicy(f.overwrite); q.Overwrite {
	case "", v1alpha1.OverwriteAlways, v1alpha1.OverwriteIfChanged, v1alpha1.OverwriteIfNewer, v1alpha1.OverwriteNever:
	default:
		return fmt.Errorf("--overwrite %q is none of Always, IfChanged, IfNewer and Never", f.overwrite)
	}
	c, namespace, err := a.reach()
	if err != nil {
		return err
	}
	if q.Host, err = kube.GetHost(ctx, c, namespace, name); err != nil {
		return err
	}
	if f.onto != "" {
		if q.Onto, err = kube.GetHost(ctx, c, namespace, f.onto); err != nil {
			return fmt.Errorf("--onto: %w", err)
		}
	}
	r := &restore.Restorer{Client: c, Asker: a.asker(c), Terminal: a.Terminal, Clock: a.Clock}
	switch {
	case f.toLocal != "":
		return r.ToFolder(ctx, q, f.toLocal)
	case f.tar == "-" && a.Terminal.Interactive:
		return errors.New("--tar - writes an archive, which is nothing for a terminal: name a file, or add | tar t")
	case f.tar == "-":
		return r.ToTar(ctx, q, a.Terminal.Out)
	case f.tar != "":
		return toFile(f.tar, func(w io.Writer) error { return r.ToTar(ctx, q, w) })
	}
	return r.OnMachine(ctx, q)
}

// toFile writes a file that is not there yet; of one that is not complete nothing stays.
func toFile(name string, write func(io.Writer) error) error {
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("--tar: %w", err)
	}
	err = write(file)
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return errors.Join(err, os.Remove(name))
	}
	return nil
}
