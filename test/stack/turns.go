package stack

import (
	"context"
	"fmt"
	"slices"

	eventsv1 "k8s.io/api/events/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/test/env"
)

// Turns are the reasons of the Events that tell of each Host in a namespace that its backups fell overdue or recovered, in order. That either is told twice in a
// row is a permanent error, however busy the machine is.
func Turns(ctx context.Context, c client.Client, namespace string) (map[string][]string, error) {
	var all eventsv1.EventList
	if err := c.List(ctx, &all, client.InNamespace(namespace)); err != nil {
		return nil, err
	}
	slices.SortFunc(all.Items, func(a, b eventsv1.Event) int { return a.EventTime.Compare(b.EventTime.Time) })
	turns := map[string][]string{}
	for i := range all.Items {
		e := &all.Items[i]
		if e.Reason != v1alpha1.EventBackupsOverdue && e.Reason != v1alpha1.EventBackupsRecovered {
			continue
		}
		told := turns[e.Regarding.Name]
		if len(told) > 0 && told[len(told)-1] == e.Reason || e.Series != nil {
			return nil, env.Permanent(fmt.Errorf("%s of Host %s is told twice: %s", e.Reason, e.Regarding.Name, e.Note))
		}
		turns[e.Regarding.Name] = append(told, e.Reason)
	}
	return turns, nil
}
