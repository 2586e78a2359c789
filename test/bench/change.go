package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
)

const changes = 100

// change measures, with the whole fleet connected, how long the change of a Schedule for one Host takes until its status says that the machine has applied
// it, as a watch sees it; against the round trip of one patch of a status.
func change(w *world) ([]row, error) {
	one := &v1alpha1.Schedule{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "one"},
		Spec:       v1alpha1.ScheduleSpec{Cron: rarely, SourceGroups: []string{"one"}},
	}
	group := &v1alpha1.SourceGroup{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "one"}, Spec: v1alpha1.SourceGroupSpec{
		Selector: v1alpha1.Selector{HostRef: &v1alpha1.LocalReference{Name: w.fleet.Agent(0).Name()}}, Includes: []string{"/srv/one"},
	}}
	for _, o := range []client.Object{group, one} {
		if err := w.Create(w.ctx, o); err != nil {
			return nil, err
		}
	}
	watcher, err := client.NewWithWatch(w.CP.RESTConfig(), client.Options{Scheme: w.Scheme()})
	if err != nil {
		return nil, err
	}
	stream, err := watcher.Watch(w.ctx, &v1alpha1.ScheduleList{}, client.InNamespace(namespace), client.MatchingFields{"metadata.name": "one"})
	if err != nil {
		return nil, err
	}
	defer stream.Stop()
	applied := func(generation int64) error {
		ctx, cancel := context.WithTimeout(w.ctx, patience)
		defer cancel()
		for {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case event := <-stream.ResultChan():
				if s, ok := event.Object.(*v1alpha1.Schedule); ok && s.Status.ObservedGeneration >= generation && s.Status.HostsApplied == 1 {
					return nil
				}
			}
		}
	}
	if err := applied(1); err != nil {
		return nil, err
	}
	var ours, bare []time.Duration
	for i := range changes {
		patch := fmt.Appendf(nil, `{"spec":{"cron":"%d %s"}}`, i%59+1, rarely[2:])
		began := time.Now()
		if err := w.Patch(w.ctx, one, client.RawPatch(types.MergePatchType, patch)); err != nil {
			return nil, err
		}
		if err := applied(one.Generation); err != nil {
			return nil, err
		}
		ours = append(ours, time.Since(began))
		d, err := w.bareStatus(w.ctx, usual, i%w.count)
		if err != nil {
			return nil, err
		}
		bare = append(bare, d)
	}
	p50, p99 := quantile(ours, 50), quantile(ours, 99)
	rows := []row{
		below("change of a Schedule until applied in status, p50", span(p50).String(), p50, 50*time.Millisecond, "≤ 50 ms"),
		below("the same, p99", span(p99).String(), p99, 250*time.Millisecond, "≤ 250 ms"),
	}
	rows[0].baseline, rows[0].ratio = span(quantile(bare, 50)).String(), ratio(p50, quantile(bare, 50))
	rows[1].baseline, rows[1].ratio = span(quantile(bare, 99)).String(), ratio(p99, quantile(bare, 99))
	return rows, errors.Join(w.Delete(w.ctx, one), w.Delete(w.ctx, group))
}

func quantile[T cmp.Ordered](of []T, percent int) T {
	sorted := slices.Sorted(slices.Values(of))
	return sorted[min(len(sorted)*percent/100, len(sorted)-1)]
}

// ratios are those of runs that were made in turn: a machine that is slower for a while is so for both.
func ratios(ours, bare []time.Duration) []float64 {
	each := make([]float64, len(ours))
	for i := range ours {
		each[i] = ratio(ours[i], bare[i])
	}
	return each
}

// paired is the middle of the ratios.
func paired(ours, bare []time.Duration) float64 { return quantile(ratios(ours, bare), 50) }
