package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/cli/kube"
	"github.com/restic-manager/restic-manager/cli/terminal"
)

func (a *App) suspendCommand() *cobra.Command {
	return a.suspending(true, &cobra.Command{
		Use:   "suspend HOST|schedule/NAME",
		Short: "Stop the scheduled work of a host, or a schedule",
		Long: `Stops all scheduled work of a host (takes the role admin), or a schedule for all its hosts (takes the role edit). What runs goes on, and jobs that
people create still run. What falls due meanwhile is not made up for.`,
		Example: `  kubectl restic suspend web-1
  kubectl restic suspend schedule/nightly`,
	})
}

func (a *App) resumeCommand() *cobra.Command {
	return a.suspending(false, &cobra.Command{
		Use:   "resume HOST|schedule/NAME",
		Short: "Take up again what was suspended",
	})
}

// suspending fills in what both commands share.
func (a *App) suspending(suspend bool, c *cobra.Command) *cobra.Command {
	c.Args = exactly("HOST or schedule/NAME")
	c.ValidArgsFunction = complete(either(a.hosts(), a.names(func() client.ObjectList { return &v1alpha1.ScheduleList{} }, "schedule/")))
	c.RunE = func(c *cobra.Command, args []string) error {
		kubeClient, namespace, err := a.reach()
		if err != nil {
			return err
		}
		object, is, set, err := suspendable(c.Context(), kubeClient, namespace, args[0])
		if err != nil {
			return err
		}
		word := map[bool]string{true: "suspended", false: "resumed"}[suspend]
		if is == suspend {
			return a.Terminal.PrintObject(terminal.FormatTable, object, kubeClient.Scheme(), word+" already")
		}
		base := object.DeepCopyObject().(client.Object)
		set(suspend)
		if err := kubeClient.Patch(c.Context(), object, client.MergeFrom(base)); err != nil {
			return err
		}
		return a.Terminal.PrintObject(terminal.FormatTable, object, kubeClient.Scheme(), word)
	}
	return c
}

// suspendable finds what is named, and its spec.suspend.
func suspendable(ctx context.Context, c client.Client, namespace, text string) (object client.Object, is bool, set func(bool), err error) {
	kind, name, err := kube.Split(text)
	switch {
	case err != nil:
		return nil, false, nil, err
	case kind == kube.KindJob:
		return nil, false, nil, fmt.Errorf("a job cannot be suspended: kubectl restic cancel %s stops it", name)
	case kind == kube.KindSchedule:
		s := &v1alpha1.Schedule{}
		err := c.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, s)
		return s, s.Spec.Suspend, func(v bool) { s.Spec.Suspend = v }, err
	}
	h, err := kube.GetHost(ctx, c, namespace, text)
	if err != nil {
		return nil, false, nil, err
	}
	return h, h.Spec.Suspend, func(v bool) { h.Spec.Suspend = v }, nil
}
