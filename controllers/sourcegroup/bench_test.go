package sourcegroup

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	testingclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/controllers/internal/selecting"
)

// cacheOf is the cache of a manager, with the indexes, that holds so many Hosts of one group and their sets; the API server is left out.
func cacheOf(b *testing.B, hosts int) client.Reader {
	b.Helper()
	kinds := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(kinds); err != nil {
		b.Fatal(err)
	}
	mapper := meta.NewDefaultRESTMapper(nil)
	for _, kind := range []string{"Host", "ScheduleSet", "SourceGroup", "Schedule", "RepoMaintenance"} {
		mapper.Add(v1alpha1.GroupVersion.WithKind(kind), meta.RESTScopeNamespace)
	}
	c, err := cache.New(&rest.Config{}, cache.Options{
		Scheme: kinds, Mapper: mapper, HTTPClient: http.DefaultClient,
		NewInformer: func(_ toolscache.ListerWatcher, kind runtime.Object, _ time.Duration, indexers toolscache.Indexers) toolscache.SharedIndexInformer {
			content := &toolscache.ListWatch{
				ListWithContextFunc:  func(context.Context, metav1.ListOptions) (runtime.Object, error) { return listOf(kind, hosts), nil },
				WatchFuncWithContext: func(context.Context, metav1.ListOptions) (watch.Interface, error) { return watch.NewFake(), nil },
			}
			return toolscache.NewSharedIndexInformer(toolscache.ToListWatcherWithWatchListSemantics(content, unwatched{}), kind, 0, indexers)
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	if err := selecting.AddIndexes(b.Context(), c); err != nil {
		b.Fatal(err)
	}
	go func() { _ = c.Start(b.Context()) }()
	if !c.WaitForCacheSync(b.Context()) {
		b.Fatal("the cache does not fill")
	}
	return c
}

// unwatched makes an informer list.
type unwatched struct{}

func (unwatched) IsWatchListSemanticsUnSupported() bool { return true }

func listOf(kind runtime.Object, hosts int) runtime.Object {
	list, sets := &v1alpha1.HostList{}, &v1alpha1.ScheduleSetList{}
	for i := range hosts {
		host := v1alpha1.Host{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: fmt.Sprintf("web-%05d", i), Labels: map[string]string{"role": "web"}}}
		host.UID = types.UID("uid-" + host.Name)
		set := v1alpha1.ScheduleSet{ObjectMeta: metav1.ObjectMeta{Namespace: host.Namespace, Name: host.Name}}
		set.Spec.Host.UID = string(host.UID)
		for g := range 10 {
			name := fmt.Sprintf("group-%d", g)
			host.Status.SourceGroups = append(host.Status.SourceGroups, v1alpha1.SourceGroupResult{Name: name})
			set.Spec.Groups = append(set.Spec.Groups, v1alpha1.ScheduleSetGroup{Name: name, Generation: 1})
		}
		list.Items, sets.Items = append(list.Items, host), append(sets.Items, set)
	}
	switch kind.(type) {
	case *v1alpha1.Host:
		return list
	case *v1alpha1.ScheduleSet:
		return sets
	}
	return &v1alpha1.SourceGroupList{}
}

// onlyReads is a client that cannot write.
type onlyReads struct {
	client.Client
	cache client.Reader
}

func (c onlyReads) Get(ctx context.Context, key client.ObjectKey, into client.Object, options ...client.GetOption) error {
	return c.cache.Get(ctx, key, into, options...)
}

func (c onlyReads) List(ctx context.Context, into client.ObjectList, options ...client.ListOption) error {
	return c.cache.List(ctx, into, options...)
}

// BenchmarkLook is of a look at one group, without its write: the time for each Host must not grow with their number.
func BenchmarkLook(b *testing.B) {
	for _, hosts := range []int{1, 1000, 10_000} {
		r := &Reconciler{Client: onlyReads{cache: cacheOf(b, hosts)}}
		g := &v1alpha1.SourceGroup{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "group-7", Generation: 1}}
		g.Spec.Includes = []string{"/etc"}
		g.Spec.HostSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"role": "web"}}
		clk := testingclock.NewFakePassiveClock(time.Now())
		if _, err := r.gather(b.Context(), g); err != nil { // the cache fills when it is asked
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("hosts=%d", hosts), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				seen, err := r.gather(b.Context(), g)
				if err != nil {
					b.Fatal(err)
				}
				_, _ = decide(g, seen, clk)
				if int(g.Status.HostsMatched) != hosts {
					b.Fatalf("%d Hosts match", g.Status.HostsMatched)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(hosts), "ns/host")
		})
	}
}
