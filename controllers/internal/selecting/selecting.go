package selecting

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/controllers/compile"
	"github.com/restic-manager/restic-manager/controllers/maintenance"
)

// Index is one of the cache's field indexes.
type Index struct {
	Object client.Object
	Field  string
	Keys   client.IndexerFunc
}

// Names of the indexes.
const (
	indexHost     = "selecting.host"
	indexSelector = "selecting.selector"
	indexGroup    = "selecting.sourceGroup"
	// indexRepository leads from maintenance.RepositoryHash to the Hosts on a repository.
	indexRepository = "selecting.repository"
	// indexMaintained leads from a Host's name to the RepoMaintenances that name it, and from everyHost to those with a label selector.
	indexMaintained = "selecting.hostRef"
)

// Indexes are all that the functions here ask for.
func Indexes() []Index {
	return []Index{
		{&v1alpha1.Host{}, indexHost, keys(keysOf)},
		{&v1alpha1.SourceGroup{}, indexSelector, keys(func(g *v1alpha1.SourceGroup) []string { return anchorsOf(g.Spec.Selector) })},
		{&v1alpha1.Host{}, indexRepository, keys(func(h *v1alpha1.Host) []string { return []string{maintenance.RepositoryHash(h)} })},
		{&v1alpha1.RepoMaintenance{}, indexMaintained, keys(maintainedKeys)},
		{&v1alpha1.Schedule{}, indexGroup, keys(func(s *v1alpha1.Schedule) []string { return s.Spec.SourceGroups })},
	}
}

func keys[T client.Object](of func(T) []string) client.IndexerFunc {
	return func(object client.Object) []string {
		if typed, ok := object.(T); ok {
			return of(typed)
		}
		return nil
	}
}

func maintainedKeys(m *v1alpha1.RepoMaintenance) []string {
	if ref := m.Spec.HostRef; ref != nil {
		return []string{ref.Name}
	}
	return []string{everyHost}
}

// AddIndexes adds all of them to a cache that has not started.
func AddIndexes(ctx context.Context, indexer client.FieldIndexer) error {
	for _, index := range Indexes() {
		if err := indexer.IndexField(ctx, index.Object, index.Field, index.Keys); err != nil {
			return fmt.Errorf("indexing %T by %s: %w", index.Object, index.Field, err)
		}
	}
	return nil
}

// Hosts returns the Hosts that a selector chooses in its namespace, those that are being deleted among them, sorted by name. A selector that does not
// parse chooses none.
func Hosts(ctx context.Context, reader client.Reader, namespace string, selector v1alpha1.Selector) ([]v1alpha1.Host, error) {
	var found []*v1alpha1.Host // in the lists: they are large
	for _, anchor := range anchorsOf(selector) {
		hosts, err := chosenBy(ctx, reader, namespace, selector, anchor)
		if err != nil {
			return nil, err
		}
		for i := range hosts {
			found = append(found, &hosts[i])
		}
	}
	return unique(found), nil
}

// Unsorted is Hosts in no order, which spares a copy of each: for who looks at very many, and sorts what is left of them.
func Unsorted(ctx context.Context, reader client.Reader, namespace string, selector v1alpha1.Selector) ([]v1alpha1.Host, error) {
	anchors := anchorsOf(selector)
	if len(anchors) != 1 {
		return Hosts(ctx, reader, namespace, selector)
	}
	return chosenBy(ctx, reader, namespace, selector, anchors[0])
}

// chosenBy returns those of the Hosts with an anchor among their keys that a selector chooses.
func chosenBy(ctx context.Context, reader client.Reader, namespace string, selector v1alpha1.Selector, anchor string) ([]v1alpha1.Host, error) {
	hosts := &v1alpha1.HostList{}
	var err error
	if anchor == everyHost {
		err = listAll(ctx, reader, hosts, namespace)
	} else {
		err = listBy(ctx, reader, hosts, namespace, indexHost, anchor)
	}
	if err != nil {
		return nil, err
	}
	// The list is a copy of its own, what its items point to is not.
	items := hosts.Items
	kept := 0
	for i := range items {
		if yes, err := compile.Matches(selector, &items[i]); err != nil || !yes {
			continue
		}
		if kept != i {
			items[kept] = items[i]
		}
		kept++
	}
	return items[:kept], nil
}

// Groups returns the SourceGroups of a Host's namespace that choose it, sorted by name.
func Groups(ctx context.Context, reader client.Reader, host *v1alpha1.Host) ([]v1alpha1.SourceGroup, error) {
	groups := &v1alpha1.SourceGroupList{}
	var found []v1alpha1.SourceGroup
	for _, key := range append(keysOf(host), everyHost) {
		if err := listBy(ctx, reader, groups, host.Namespace, indexSelector, key); err != nil {
			return nil, err
		}
		for i := range groups.Items {
			if yes, err := compile.Matches(groups.Items[i].Spec.Selector, host); err == nil && yes {
				found = append(found, groups.Items[i])
			}
		}
	}
	return Unique(found), nil
}

// Schedules returns the Schedules of a namespace that name one of the groups, sorted by name.
func Schedules(ctx context.Context, reader client.Reader, namespace string, groups ...string) ([]v1alpha1.Schedule, error) {
	schedules := &v1alpha1.ScheduleList{}
	var found []v1alpha1.Schedule
	for _, group := range groups {
		if err := listBy(ctx, reader, schedules, namespace, indexGroup, group); err != nil {
			return nil, err
		}
		found = append(found, schedules.Items...)
	}
	return Unique(found), nil
}

// Sharing returns Hosts of one namespace together with all others on their repositories, those that are being deleted among them.
func Sharing(ctx context.Context, reader client.Reader, hosts []v1alpha1.Host) ([]v1alpha1.Host, error) {
	var found []v1alpha1.Host
	looked := map[string]bool{}
	for i := range hosts {
		hash := maintenance.RepositoryHash(&hosts[i])
		if looked[hash] {
			continue
		}
		looked[hash] = true
		on, err := OnRepository(ctx, reader, hosts[i].Namespace, hash)
		if err != nil {
			return nil, err
		}
		found = append(found, on...)
	}
	return found, nil
}

// OnRepository returns the Hosts of a namespace on one repository, by its maintenance.RepositoryHash, those that are being deleted among them.
func OnRepository(ctx context.Context, reader client.Reader, namespace, hash string) ([]v1alpha1.Host, error) {
	hosts := &v1alpha1.HostList{}
	err := listBy(ctx, reader, hosts, namespace, indexRepository, hash)
	return hosts.Items, err
}

// Names of Hosts, for Maintenances.
func Names(hosts []v1alpha1.Host) []string {
	names := make([]string, len(hosts))
	for i := range hosts {
		names[i] = hosts[i].Name
	}
	return names
}

// Maintenances returns the RepoMaintenances of a namespace that may select one of the Hosts with these names, each of them once: those that name it, and all that
// select by label.
func Maintenances(ctx context.Context, reader client.Reader, namespace string, hosts []string) ([]v1alpha1.RepoMaintenance, error) {
	var found []v1alpha1.RepoMaintenance
	for _, name := range append([]string{everyHost}, hosts...) {
		list := &v1alpha1.RepoMaintenanceList{}
		if err := listBy(ctx, reader, list, namespace, indexMaintained, name); err != nil {
			return nil, err
		}
		found = append(found, list.Items...)
	}
	return found, nil
}

// Sets returns the ScheduleSets of Hosts, in their order; not every Host has one.
func Sets(ctx context.Context, reader client.Reader, hosts []v1alpha1.Host) ([]v1alpha1.ScheduleSet, error) {
	sets := make([]v1alpha1.ScheduleSet, len(hosts)) // read in place: they are large, and there may be many
	found := 0
	for i := range hosts {
		switch err := reader.Get(ctx, client.ObjectKeyFromObject(&hosts[i]), &sets[found], client.UnsafeDisableDeepCopy); {
		case apierrors.IsNotFound(err):
			sets[found] = v1alpha1.ScheduleSet{}
		case err != nil:
			return nil, fmt.Errorf("reading the ScheduleSet of Host %s: %w", hosts[i].Name, err)
		default:
			found++
		}
	}
	return sets[:found], nil
}

func listBy(ctx context.Context, reader client.Reader, into client.ObjectList, namespace, field, key string) error {
	return listAll(ctx, reader, into, namespace, client.MatchingFields{field: key})
}

func listAll(ctx context.Context, reader client.Reader, into client.ObjectList, namespace string, options ...client.ListOption) error {
	options = append(options, client.InNamespace(namespace), client.UnsafeDisableDeepCopy)
	if err := reader.List(ctx, into, options...); err != nil {
		return fmt.Errorf("listing by an index: %w", err)
	}
	return nil
}

// Unique sorts objects of one namespace by name and drops those that are there twice.
func Unique[T any, P interface {
	*T
	client.Object
}](found []T) []T {
	places := make([]*T, len(found))
	for i := range found {
		places[i] = &found[i]
	}
	return unique[T, P](places)
}

// unique is Unique of objects that lie anywhere.
func unique[T any, P interface {
	*T
	client.Object
}](found []*T) []T {
	name := func(item *T) string { return P(item).GetName() }
	slices.SortFunc(found, func(a, b *T) int { return cmp.Compare(name(a), name(b)) })
	found = slices.CompactFunc(found, func(a, b *T) bool { return name(a) == name(b) })
	items := make([]T, len(found))
	for i, item := range found {
		items[i] = *item
	}
	return items
}
