package cli

import (
	"fmt"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/cli/fleet"
	"github.com/restic-manager/restic-manager/cli/kube"
	"github.com/restic-manager/restic-manager/cli/terminal"
)

func (a *App) statusCommand() *cobra.Command {
	var output, selector string
	var all, problems bool
	c := &cobra.Command{
		Use:   "status [HOST...]",
		Short: "Show whether every machine is backed up, the worst first",
		Long: `Shows how many hosts are current, overdue, failing or disconnected, the same for each source group, and the hosts, the worst first.

Exit code: 0 when every host is current (or suspended by somebody), 1 when one is not, 2 when it could not be found out.`,
		Example: `  # The fleet of one namespace, and of all
  kubectl restic status -n shop
  kubectl restic status -A

  # In a script
  kubectl restic status -A --problems -o name || notify-somebody`,
		ValidArgsFunction: complete(a.hosts(), a.hosts(), a.hosts(), a.hosts()),
		RunE: func(c *cobra.Command, args []string) error {
			format, err := terminal.ParseFormat(output, allFormats...)
			if err != nil {
				return err
			}
			if len(args) > 0 && (all || selector != "") {
				return fmt.Errorf("names of hosts exclude --all-namespaces and --selector")
			}
			kubeClient, namespace, err := a.reach()
			if err != nil {
				return err
			}
			var hosts []v1alpha1.Host
			for _, name := range args {
				host, err := kube.GetHost(c.Context(), kubeClient, namespace, name)
				if err != nil {
					return err
				}
				hosts = append(hosts, *host)
			}
			if len(args) == 0 {
				if hosts, err = a.listHosts(c, kubeClient, namespace, selector, all); err != nil {
					return err
				}
			}
			report := fleet.Judge(hosts)
			if err := fleet.Print(a.Terminal, report, fleet.Options{Now: a.now(), Namespaces: all, Problems: problems, Format: format}); err != nil {
				return err
			}
			if report.Code() != 0 {
				return errNotWell
			}
			return nil
		},
	}
	formatFlag(c, &output, allFormats...)
	c.Flags().BoolVarP(&all, "all-namespaces", "A", false, "All namespaces")
	c.Flags().StringVarP(&selector, "selector", "l", "", "Only hosts with these labels")
	c.Flags().BoolVar(&problems, "problems", false, "Only what is not well")
	return c
}

func (a *App) listHosts(c *cobra.Command, from client.Client, namespace, selector string, all bool) ([]v1alpha1.Host, error) {
	options := []client.ListOption{}
	if !all {
		options = append(options, client.InNamespace(namespace))
	}
	if selector != "" {
		parsed, err := labels.Parse(selector)
		if err != nil {
			return nil, fmt.Errorf("--selector: %w", err)
		}
		options = append(options, client.MatchingLabelsSelector{Selector: parsed})
	}
	list := &v1alpha1.HostList{}
	err := from.List(c.Context(), list, options...)
	return list.Items, err
}
