package cli

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/cli/browse"
	"github.com/restic-manager/restic-manager/cli/kube"
)

// completionTime is how long a person who pressed Tab waits.
const completionTime = 3 * time.Second

// candidates lists what could stand at a place, given the arguments before it.
type candidates func(ctx context.Context, args []string) []string

// complete makes shell completion of the arguments of a command, one list for each place; the last goes on.
func complete(places ...candidates) cobra.CompletionFunc {
	return func(c *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(places) == 0 || len(args) >= len(places) {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return offer(c, places[len(args)], args, begun), cobra.ShellCompDirectiveNoFileComp
	}
}

// completeFlag does the same for the value of a flag.
func (a *App) completeFlag(c *cobra.Command, flag string, from candidates) {
	_ = c.RegisterFlagCompletionFunc(flag, func(c *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return offer(c, from, args, begun), cobra.ShellCompDirectiveNoFileComp
	})
}

func offer(c *cobra.Command, from candidates, args []string, begun string) []cobra.Completion {
	ctx, cancel := context.WithTimeout(c.Context(), completionTime)
	defer cancel()
	var out []cobra.Completion
	for _, name := range from(ctx, args) {
		word, _, _ := strings.Cut(name, "\t")
		if strings.HasPrefix(word, begun) {
			out = append(out, name)
		}
	}
	return out
}

// names lists the objects of a kind in the namespace; nothing where that fails, since completion has nobody to tell.
func (a *App) names(list func() client.ObjectList, prefix string) candidates {
	return func(ctx context.Context, _ []string) []string {
		c, namespace, err := a.reach()
		if err != nil {
			return nil
		}
		names, err := kube.Names(ctx, c, namespace, list())
		if err != nil {
			return nil
		}
		for i := range names {
			names[i] = prefix + names[i]
		}
		return names
	}
}

func (a *App) hosts() candidates {
	return a.names(func() client.ObjectList { return &v1alpha1.HostList{} }, "")
}

func (a *App) groups() candidates {
	return a.names(func() client.ObjectList { return &v1alpha1.SourceGroupList{} }, "")
}

// jobs lists those that are under way, or all.
func (a *App) jobs(running bool) candidates {
	return func(ctx context.Context, _ []string) []string {
		c, namespace, err := a.reach()
		if err != nil {
			return nil
		}
		list := &v1alpha1.HostJobList{}
		if c.List(ctx, list, client.InNamespace(namespace)) != nil {
			return nil
		}
		var names []string
		for _, j := range list.Items {
			if !running || !j.Status.Phase.Finished() {
				names = append(names, j.Name+"\t"+string(j.Spec.Kind)+" of "+j.TargetName()+", "+string(j.Status.Phase))
			}
		}
		return names
	}
}

// either joins lists.
func either(lists ...candidates) candidates {
	return func(ctx context.Context, args []string) []string {
		var all []string
		for _, list := range lists {
			all = append(all, list(ctx, args)...)
		}
		return all
	}
}

// snapshots asks the machine that is named first.
func (a *App) snapshots() candidates {
	return func(ctx context.Context, args []string) []string {
		c, namespace, err := a.reach()
		if err != nil || len(args) == 0 {
			return nil
		}
		host, err := kube.GetHost(ctx, c, namespace, args[0])
		if err != nil {
			return nil
		}
		asker := a.asker(c)
		asker.Notice = nil
		all, err := browse.List(ctx, asker, host, wire.SnapshotsQuery{})
		if err != nil {
			return nil
		}
		out := []string{browse.Latest + "\tthe newest"}
		for _, s := range all {
			out = append(out, browse.Short(s.ID)+"\t"+s.Time.Local().Format(time.DateTime)+" "+strings.Join(s.Tags, ","))
		}
		return out
	}
}

// namespaces lists those of the cluster, where the person may see them.
func (a *App) namespaces(ctx context.Context, _ []string) []string {
	config, err := a.restConfig()
	if err != nil {
		return nil
	}
	clientset, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil
	}
	var list *corev1.NamespaceList
	if list, err = clientset.CoreV1().Namespaces().List(ctx, metav1.ListOptions{}); err != nil {
		return nil
	}
	var names []string
	for _, n := range list.Items {
		names = append(names, n.Name)
	}
	return names
}
