package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/cli/job"
	"github.com/restic-manager/restic-manager/cli/kube"
	"github.com/restic-manager/restic-manager/cli/terminal"
)

func (a *App) runCommand() *cobra.Command {
	var output string
	var request job.Request
	var wait bool
	c := &cobra.Command{
		Use:   "run " + strings.Join(job.Kinds(), "|") + " HOST",
		Short: "Run a backup, or another operation, now",
		Long: `Creates a HostJob, for a backup without --group one for each source group of the host. A forget, prune or check of a host whose RepoMaintenance names an
executor is done by that one.

With --wait it shows how far the job is, and ends with code 1 when it did not succeed. Ctrl-C then asks whether the job is to be cancelled.`,
		Example: `  kubectl restic run backup web-1 --group etc --wait
  kubectl restic run check web-1 --read-data-subset 5%
  kubectl restic run prune web-1`,
		Args:              exactly("what to run", "HOST"),
		ValidArgsFunction: complete(func(context.Context, []string) []string { return job.Kinds() }, a.hosts()),
		RunE: func(c *cobra.Command, args []string) error {
			format, err := terminal.ParseFormat(output, terminal.FormatJSON, terminal.FormatYAML, terminal.FormatName)
			if err != nil {
				return err
			}
			if request.Kind, err = job.ParseKind(args[0]); err != nil {
				return err
			}
			kubeClient, namespace, err := a.reach()
			if err != nil {
				return err
			}
			host, err := kube.GetHost(c.Context(), kubeClient, namespace, args[1])
			if err != nil {
				return err
			}
			facts, err := job.Gather(c.Context(), kubeClient, host)
			if err != nil {
				return err
			}
			jobs, err := job.Plan(facts, request)
			if err != nil {
				return err
			}
			for _, j := range jobs {
				if err := kubeClient.Create(c.Context(), j); err != nil {
					return err
				}
				if err := a.Terminal.PrintObject(format, j, kubeClient.Scheme(), "created"); err != nil {
					return err
				}
			}
			if !wait {
				return nil
			}
			return a.watch(c.Context(), kubeClient, jobs, format != terminal.FormatTable)
		},
	}
	formatFlag(c, &output, terminal.FormatJSON, terminal.FormatYAML, terminal.FormatName)
	c.Flags().BoolVar(&wait, "wait", false, "Show how far it is until it has ended")
	c.Flags().StringVar(&request.Group, "group", "", "Only this source group (backup, forget, verify)")
	c.Flags().StringVar(&request.ReadDataSubset, "read-data-subset", "", "Of a check: how much data is read: 5%, 10G, 1/7")
	c.Flags().Int32Var(&request.Sample, "sample", 0, "Of a verify: how many files of each group are restored and compared")
	a.completeFlag(c, "group", a.groups())
	return c
}

// watch shows jobs one after the other; it fails when one of them did.
func (a *App) watch(ctx context.Context, c client.WithWatch, jobs []*v1alpha1.HostJob, quiet bool) error {
	w := &job.Watcher{Client: c, Terminal: a.Terminal, Clock: a.Clock, Quiet: quiet}
	var failed error
	for _, j := range jobs {
		if err := w.Watch(ctx, j); err != nil {
			if !isJobFailure(err) {
				return err
			}
			failed = err
		}
	}
	return failed
}

func (a *App) jobsCommand() *cobra.Command {
	var output string
	var all, running bool
	c := &cobra.Command{
		Use:               "jobs [HOST]",
		Short:             "List jobs, those under way first",
		Long:              `Lists HostJobs: what people and maintenance asked for. Scheduled backups make no objects; status shows their results, and logs HOST their logs.`,
		Args:              between(0, "HOST"),
		ValidArgsFunction: complete(a.hosts()),
		RunE: func(c *cobra.Command, args []string) error {
			format, err := terminal.ParseFormat(output, allFormats...)
			if err != nil {
				return err
			}
			kubeClient, namespace, err := a.reach()
			if err != nil {
				return err
			}
			list := &v1alpha1.HostJobList{}
			options := []client.ListOption{client.InNamespace(namespace)}
			if all {
				options = nil
			}
			if err := kubeClient.List(c.Context(), list, options...); err != nil {
				return err
			}
			var shown []v1alpha1.HostJob
			for _, j := range list.Items {
				if (len(args) == 0 || j.TargetName() == args[0] || j.Spec.HostRef.Name == args[0]) && (!running || !j.Status.Phase.Finished()) {
					shown = append(shown, j)
				}
			}
			job.Sort(shown)
			return a.printJobs(shown, kubeClient, format, all)
		},
	}
	formatFlag(c, &output, allFormats...)
	c.Flags().BoolVarP(&all, "all-namespaces", "A", false, "All namespaces")
	c.Flags().BoolVar(&running, "running", false, "Only those that have not ended")
	return c
}

func (a *App) printJobs(jobs []v1alpha1.HostJob, c client.Client, f terminal.Format, namespaces bool) error {
	switch f {
	case terminal.FormatJSON, terminal.FormatYAML:
		return a.Terminal.PrintObject(f, &v1alpha1.HostJobList{Items: jobs}, c.Scheme(), "")
	case terminal.FormatName:
		for i := range jobs {
			if err := a.Terminal.PrintObject(f, &jobs[i], c.Scheme(), ""); err != nil {
				return err
			}
		}
		return nil
	}
	if len(jobs) == 0 {
		a.Terminal.Notef("No jobs found.")
		return nil
	}
	a.Terminal.Table(job.Table(jobs, a.now(), namespaces, f == terminal.FormatWide))
	return nil
}

func (a *App) cancelCommand() *cobra.Command {
	var wait bool
	c := &cobra.Command{
		Use:               "cancel JOB",
		Short:             "Cancel a job",
		Long:              `Asks to stop a job: restic is interrupted, and killed if it does not end. What a backup has stored so far is used by the next one.`,
		Args:              exactly("JOB"),
		ValidArgsFunction: complete(a.jobs(true)),
		RunE: func(c *cobra.Command, args []string) error {
			kubeClient, namespace, err := a.reach()
			if err != nil {
				return err
			}
			j, err := kube.GetJob(c.Context(), kubeClient, namespace, args[0])
			if err != nil {
				return err
			}
			if j.Status.Phase.Finished() {
				return fmt.Errorf("job %s has ended already: it %s", j.Name, job.Outcome(j, a.now()))
			}
			if err := job.Cancel(c.Context(), kubeClient, j); err != nil {
				return err
			}
			if err := a.Terminal.PrintObject(terminal.FormatTable, j, kubeClient.Scheme(), "asked to stop"); err != nil || !wait {
				return err
			}
			err = (&job.Watcher{Client: kubeClient, Terminal: a.Terminal, Clock: a.Clock}).Watch(c.Context(), j)
			if isJobFailure(err) && j.Status.Phase == v1alpha1.JobCancelled {
				return nil
			}
			return err
		},
	}
	c.Flags().BoolVar(&wait, "wait", false, "Wait until it has ended")
	return c
}
