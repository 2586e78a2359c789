package cli

import (
	"fmt"

	"github.com/spf13/cobra"
	"k8s.io/client-go/discovery"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/cli/doctor"
	"github.com/restic-manager/restic-manager/cli/kube"
	"github.com/restic-manager/restic-manager/cli/terminal"
)

func (a *App) doctorCommand() *cobra.Command {
	var output string
	var noQuery bool
	c := &cobra.Command{
		Use:   "doctor [HOST]",
		Short: "Find out why the backups of a machine do not work",
		Long: `Walks the chain from the cluster to the machine's repository and says of each link: fine, or what is wrong and the command that mends it. Without HOST it
does so for every host of the namespace.

It uses what you may read. With the role edit it also asks the machine itself, which opens its repository for that.

Exit code: 0 when nothing is wrong, 1 when something is, 2 when it could not be found out.`,
		Args:              between(0, "HOST"),
		ValidArgsFunction: complete(a.hosts()),
		RunE: func(c *cobra.Command, args []string) error {
			format, err := terminal.ParseFormat(output, terminal.FormatJSON, terminal.FormatYAML)
			if err != nil {
				return err
			}
			kubeClient, namespace, err := a.reach()
			if err != nil {
				return err
			}
			config, err := a.restConfig()
			if err != nil {
				return err
			}
			find, err := discovery.NewDiscoveryClientForConfig(config)
			if err != nil {
				return err
			}
			names := args
			if len(args) == 0 {
				if names, err = kube.Names(c.Context(), kubeClient, namespace, &v1alpha1.HostList{}); err != nil {
					return err
				}
				if len(names) == 0 {
					return fmt.Errorf("there is no host in namespace %s: kubectl restic enroll makes one", namespace)
				}
			}
			g := &doctor.Gatherer{Client: kubeClient, Discovery: find, Asker: a.asker(kubeClient), Clock: a.Clock, NoQuery: noQuery}
			return a.diagnose(c, g, namespace, names, format)
		},
	}
	formatFlag(c, &output, terminal.FormatJSON, terminal.FormatYAML)
	c.Flags().BoolVar(&noQuery, "no-query", false, "Do not ask the machine itself")
	return c
}

func (a *App) diagnose(c *cobra.Command, g *doctor.Gatherer, namespace string, names []string, f terminal.Format) error {
	wrong := false
	all := map[string][]doctor.Finding{}
	for _, name := range names {
		found := doctor.Judge(g.Gather(c.Context(), namespace, name))
		if err := c.Context().Err(); err != nil {
			return err
		}
		wrong = wrong || doctor.Worst(found) == doctor.Wrong
		all[name] = found
		if f == terminal.FormatTable {
			doctor.Print(a.Terminal, name, found)
		}
	}
	if f != terminal.FormatTable {
		if err := a.Terminal.Print(f, all); err != nil {
			return err
		}
	}
	if wrong {
		return errNotWell
	}
	return nil
}
