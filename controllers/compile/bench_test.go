package compile_test

import (
	"fmt"
	"testing"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/controllers/compile"
)

// benchInput is a host with so many groups, a third of them in each of three schedules.
func benchInput(groups int) compile.Input {
	in := compile.Input{Host: host("web-1", "role=web", "env=prod"), IdentityHash: "0123456789abcdef"}
	names := make([][]string, 3)
	for i := range groups {
		name := fmt.Sprintf("group-%d", i)
		g := group(name, onLabel("role", "web"))
		g.Spec.Excludes = []string{"*.cache", "/home/*/Downloads"}
		g.Spec.Retention = &v1alpha1.Retention{KeepDaily: 7, KeepWeekly: 4}
		in.Groups = append(in.Groups, g)
		names[i%3] = append(names[i%3], name)
	}
	for i := range names {
		in.Schedules = append(in.Schedules, schedule(fmt.Sprintf("schedule-%d", i), names[i]))
	}
	return in
}

// BenchmarkCompile is of one host, which is what a change costs for each host that it touches: twice the groups should cost twice as much.
func BenchmarkCompile(b *testing.B) {
	for _, groups := range []int{1, 10, 20, 40} {
		in := benchInput(groups)
		b.Run(fmt.Sprintf("groups=%d", groups), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				compile.Compile(in)
			}
		})
	}
}

// BenchmarkCompileFleet is of many hosts, one after the other: the time for each must not grow with their number.
func BenchmarkCompileFleet(b *testing.B) {
	for _, hosts := range []int{1000, 10_000} {
		in := benchInput(20)
		fleet := make([]*v1alpha1.Host, hosts)
		for i := range fleet {
			fleet[i] = host(fmt.Sprintf("web-%d", i), "role=web", "env=prod")
		}
		b.Run(fmt.Sprintf("hosts=%d", hosts), func(b *testing.B) {
			for b.Loop() {
				for _, h := range fleet {
					in.Host = h
					compile.Compile(in)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(hosts), "ns/host")
		})
	}
}

const maxAllocsPerGroup = 65

// Allocations are exact: this is what keeps the compiler of sets from growing by accident.
func TestCompilingAllocatesLittle(t *testing.T) {
	one, twenty, forty := benchInput(1), benchInput(20), benchInput(40)
	allocs := func(in compile.Input) float64 { return testing.AllocsPerRun(20, func() { compile.Compile(in) }) }
	a, b, c := allocs(one), allocs(twenty), allocs(forty)
	t.Logf("1 group: %v allocations, 20 groups: %v, 40 groups: %v", a, b, c)
	if each := (b - a) / 19; each > maxAllocsPerGroup {
		t.Errorf("a group costs %.1f allocations, want %d at most", each, maxAllocsPerGroup)
	}
	if grown := (c - b) / (b - a); grown > 1.2 {
		t.Errorf("20 more groups cost %.2f times as much as the first 20", grown)
	}
}
