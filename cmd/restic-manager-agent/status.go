package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/restic-manager/restic-manager/agent"
	"github.com/restic-manager/restic-manager/agent/config"
	"github.com/spf13/cobra"
)

func statusCommand(s streams) *cobra.Command {
	var path string
	c := &cobra.Command{
		Use:   "status",
		Short: "Show what the agent of this machine does: connection, schedule set, repository, last results",
		Args:  noArgs,
		RunE: func(*cobra.Command, []string) error {
			loaded, err := config.Load(path)
			if err != nil {
				return err
			}
			status, err := agent.ReadStatus(loaded.StateDir)
			if err != nil {
				return err
			}
			return printStatus(s.out, status)
		},
	}
	configFlag(c, &path)
	return c
}

func printStatus(out io.Writer, status agent.Status) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	line := func(name, format string, args ...any) { fmt.Fprintf(w, name+":\t"+format+"\n", args...) }
	line("Host", "%s", status.Host)
	if !status.RemovedAt.IsZero() {
		kept := "the credentials of its repository were deleted here"
		if status.CredentialsKept {
			kept = "what opens its repository is kept for `restic-manager-agent export-credentials`: no other copy of the password is confirmed"
		}
		line("Removed", "the Host was removed in the cluster at %s: no backups run here; its snapshots stay", at(status.RemovedAt))
		fmt.Fprintf(w, "\t%s\n", kept)
	}
	switch {
	case !status.Running:
		line("Agent", "not running (what follows is the last that it wrote)")
	default:
		line("Agent", "running, version %s", status.Version)
	}
	switch {
	case status.Running && status.Connected:
		line("Gateway", "connected to %s since %s", status.Gateway, at(status.Since))
	case status.Since.IsZero():
		line("Gateway", "never connected to %s", status.Gateway)
	default:
		line("Gateway", "not connected to %s, last change %s", status.Gateway, at(status.Since))
	}
	switch {
	case status.AppliedRevision == "":
		line("Schedule set", "none in force")
	case !status.RemovedAt.IsZero():
		line("Schedule set", "tombstone %s in force", status.AppliedRevision)
	default:
		line("Schedule set", "revision %s in force", status.AppliedRevision)
	}
	if status.Problem != "" {
		line("Problem", "%s", status.Problem)
	}
	for _, n := range status.NotAllowed {
		about := "every source group"
		if n.SourceGroup != "" {
			about = "source group " + n.SourceGroup
		}
		line("Not allowed", "%s of %s: %s", n.What, about, n.Message)
	}
	if r := status.Repository; r != nil {
		line("Repository", "%s", strings.TrimSpace(fmt.Sprintf("%s %s %s", r.URL, r.State, r.Reason)))
		if r.Message != "" {
			fmt.Fprintf(w, "\t%s\n", r.Message)
		}
	}
	line("Reports", "%d not taken by the gateway yet", status.Unacked)
	if len(status.Results) > 0 {
		fmt.Fprintln(w, "\nLAST JOB\tENDED\tOUTCOME\tSNAPSHOT\tRESULT")
		for _, name := range slices.Sorted(maps.Keys(status.Results)) {
			r := status.Results[name]
			fmt.Fprintf(w, "%s\t%s\t%s\t%.8s\t%s\n", name, at(r.FinishedAt), r.Outcome, r.SnapshotID, strings.Join(slices.DeleteFunc([]string{r.Did, r.Message}, func(text string) bool { return text == "" }), "; "))
		}
	}
	return w.Flush()
}

func at(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05") }
