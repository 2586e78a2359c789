package swarm

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// pace is the least time between two looks at all agents while something changes all the time.
const pace = 10 * time.Millisecond

// Wait returns when ok is true of every agent at the same time, or with an error when ctx ends first, which says of whom it is not. It looks again
// whenever something happens to an agent: ok asks the Agent alone.
func (f *Fleet) Wait(ctx context.Context, what string, ok func(*Agent) bool) error {
	return f.WaitFor(ctx, what, f.agents, ok)
}

// WaitFor is Wait for some of the agents.
func (f *Fleet) WaitFor(ctx context.Context, what string, agents []*Agent, ok func(*Agent) bool) error {
	unmet := func(a *Agent) bool { return !ok(a) }
	for {
		changed := f.news.next()
		if !slices.ContainsFunc(agents, unmet) { // not all of them: with thousands, a look at each would take a core
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			left := slices.DeleteFunc(slices.Clone(agents), ok)
			return fmt.Errorf("%s: not so of %d of %d simulated agents: %s: %w", what, len(left), len(agents), describe(left), context.Cause(ctx))
		}
		timer := time.NewTimer(pace)
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// describe tells of the first few.
func describe(agents []*Agent) string {
	var all []string
	for _, a := range agents[:min(len(agents), 5)] {
		all = append(all, a.String())
	}
	if len(agents) > len(all) {
		all = append(all, "…")
	}
	return strings.Join(all, ", ")
}

// Connected tells whether an agent has a session.
func Connected(a *Agent) bool { return a.Connected() }

// Applied tells whether an agent has a set in force that is no tombstone.
func Applied(a *Agent) bool {
	set := a.Set()
	return set != nil && !set.Tombstone
}

// Removed tells whether the set in force is a tombstone.
func Removed(a *Agent) bool {
	set := a.Set()
	return set != nil && set.Tombstone
}

// Idle tells whether an agent has no fire, job or report under way.
func Idle(a *Agent) bool { return a.Idle() }

// Runs tells whether the set in force holds a schedule.
func Runs(schedule string) func(*Agent) bool {
	return func(a *Agent) bool { return a.schedule(schedule) != nil }
}

// All is true of an agent when every one of them is.
func All(conditions ...func(*Agent) bool) func(*Agent) bool {
	return func(a *Agent) bool {
		for _, ok := range conditions {
			if !ok(a) {
				return false
			}
		}
		return true
	}
}

// news wakes who waits for something to happen to any agent.
type news struct {
	mu      sync.Mutex
	waiting chan struct{} // nil while nobody waits
}

func (n *news) next() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.waiting == nil {
		n.waiting = make(chan struct{})
	}
	return n.waiting
}

func (n *news) tell() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.waiting != nil {
		close(n.waiting)
		n.waiting = nil
	}
}
