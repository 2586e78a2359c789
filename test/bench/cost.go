package main

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// cost is what a backup took.
type cost struct {
	wall time.Duration
	// cpu is that of all processes that ran for it; agent is the agent's part of it.
	cpu, agent time.Duration
	// restic is how long restic worked by its own account, with the opening of the repository. Of first backups only.
	restic time.Duration
}

func (c cost) theWall() time.Duration     { return c.wall }
func (c cost) theCPU() time.Duration      { return c.cpu }
func (c cost) theAgent() time.Duration    { return c.agent }
func (c cost) theChildren() time.Duration { return c.cpu - c.agent }
func (c cost) beside() time.Duration      { return c.wall - c.restic }

// runs are backups of one sort.
type runs []cost

func (r runs) each(of func(cost) time.Duration) []time.Duration {
	all := make([]time.Duration, len(r))
	for i, c := range r {
		all[i] = of(c)
	}
	return all
}

func (r runs) middle(of func(cost) time.Duration) time.Duration { return quantile(r.each(of), 50) }

// over is what each took more than the other one of its pair.
func (r runs) over(than runs, of func(cost) time.Duration) []time.Duration {
	ours, theirs := r.each(of), than.each(of)
	for i := range ours {
		ours[i] -= theirs[i]
	}
	return ours
}

// comparison holds the runs of each sort, in the same order.
type comparison struct{ plain, ours, peer runs }

// pairwise is a row about ratios pair by pair, since a machine may change its pace from one pair to the next.
type pairwise struct {
	row
	low, high float64
}

func (r runs) times(what string, plain runs, of func(cost) time.Duration) pairwise {
	each := ratios(r.each(of), plain.each(of))
	p := pairwise{row: row{what: what, ours: span(r.middle(of)).String(), baseline: span(plain.middle(of)).String(), ratio: quantile(each, 50)}}
	p.low, p.high = interval(each)
	p.note = fmt.Sprintf("middle of %d pairs %.3f×; with 95 %% certainty between %.3f× and %.3f×", len(each), p.ratio, p.low, p.high)
	return p
}

// judge leaves open what the pairs do not tell.
func (p *pairwise) judge(limit float64) {
	p.row.judge(limit)
	if p.low <= limit && limit < p.high {
		p.holds = nil
	}
}

// interval is where the middle of what was drawn from lies with 95 % certainty, by the ranks in the sample.
func interval(sample []float64) (low, high float64) {
	sorted := slices.Sorted(slices.Values(sample))
	n := float64(len(sorted))
	spread := 1.96 * math.Sqrt(n)
	return sorted[max(int(math.Floor((n-spread)/2)), 1)-1], sorted[min(int(math.Ceil(1+(n+spread)/2)), len(sorted))-1]
}

// more is for what is short, where a ratio says little.
func (r runs) more(what string, plain runs) row {
	more := r.over(plain, cost.theWall)
	return row{what: what, ours: span(quantile(more, 50)).String(), baseline: span(plain.middle(cost.theWall)).String(),
		note: fmt.Sprintf("a quarter of %d pairs %s at most, three quarters %s; CPU %s against %s", len(more), span(quantile(more, 25)), span(quantile(more, 75)),
			span(r.middle(cost.theCPU)), span(plain.middle(cost.theCPU)))}
}

// ofBeside compares without restic's own work, the pace of which differs from run to run by more than what is looked for.
func (r runs) ofBeside(what string, plain runs) row {
	more := quantile(r.over(plain, cost.beside), 50)
	whole := plain.middle(cost.theWall)
	return row{what: what, ours: span(r.middle(cost.beside)).String(), baseline: span(plain.middle(cost.beside)).String(), ratio: ratio(whole+more, whole),
		note: fmt.Sprintf("%s more, which is %.2f %% of plain restic's whole run", span(more), 100*ratio(more, whole))}
}

// ofAgent compares the agent's CPU with that of the restic that it ran.
func (r runs) ofAgent(what string) row {
	return row{what: what, ours: span(r.middle(cost.theAgent)).String(), baseline: span(r.middle(cost.theChildren)).String(),
		ratio: paired(r.each(cost.theCPU), r.each(cost.theChildren)), note: "baseline: of the restic that it ran"}
}
