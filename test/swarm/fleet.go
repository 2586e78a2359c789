package swarm

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Fleet is many simulated agents. Make it with New, create its objects, Start it, and Stop it at the end.
type Fleet struct {
	o      Options
	dialer *dialer
	agents []*Agent
	counts counters
	news   news
	// endings are those of attempts to connect, and of sessions.
	endings endings

	// ctx ends with Stop; it is that of all work, and comes with Start.
	ctx  context.Context
	stop context.CancelFunc
	work sync.WaitGroup
}

// New makes the agents and their keys; nothing is dialled. It fails where this process may not have enough open files.
func New(o Options) (*Fleet, error) {
	if err := o.complete(); err != nil {
		return nil, fmt.Errorf("swarm: %w", err)
	}
	if err := allowFiles(o.Count); err != nil {
		return nil, fmt.Errorf("swarm: %w", err)
	}
	f := &Fleet{o: o, agents: make([]*Agent, 0, o.Count)}
	f.ctx, f.stop = context.WithCancel(context.Background())
	f.dialer = newDialer(&f.o)
	for i := range o.Count {
		a, err := newAgent(f, i)
		if err != nil {
			return nil, fmt.Errorf("swarm: agent %d: %w", i, err)
		}
		f.agents = append(f.agents, a)
	}
	return f, nil
}

// Start lets all agents connect, Options.Rate of them per second, and returns at once. Wait says when something is true of them.
func (f *Fleet) Start() {
	for _, a := range f.agents {
		a.start()
	}
	f.work.Go(func() {
		began := time.Now()
		for i, a := range f.agents {
			if f.o.Rate > 0 && !f.sleepUntil(began.Add(time.Duration(float64(i)/f.o.Rate*float64(time.Second)))) {
				return
			}
			a.Reconnect()
		}
	})
}

// sleepUntil paces in real time, whatever the fleet's clock. It returns false when the fleet stops first.
func (f *Fleet) sleepUntil(t time.Time) bool {
	timer := time.NewTimer(time.Until(t))
	defer timer.Stop()
	select {
	case <-f.ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// Stop disconnects all agents and returns when nothing of the fleet runs any more. Jobs that last are dropped.
func (f *Fleet) Stop() {
	f.stop()
	for _, a := range f.agents {
		a.fires.Wait() // the last that could begin a job
	}
	f.work.Wait()
}

// Spread replaces Options.Addresses for dials from here on; sessions that are open stay.
func (f *Fleet) Spread(addresses ...string) { f.dialer.spread(addresses) }

// Agents are all of them, in the order of their numbers.
func (f *Fleet) Agents() []*Agent { return slices.Clone(f.agents) }

// Agent of a number, from 0.
func (f *Fleet) Agent(i int) *Agent { return f.agents[i] }

// Fire lets each agent whose set in force holds the schedule and the group fire it, and returns how many those are. Nominal is in the form of
// wire.NominalLayout.
func (f *Fleet) Fire(schedule, group, nominal string) int {
	fired := 0
	for _, a := range f.agents {
		if a.Fire(schedule, group, nominal) == nil {
			fired++
		}
	}
	return fired
}

// Counts are the sums up to now.
func (f *Fleet) Counts() Counts {
	c := f.counts.read()
	c.Agents = int64(len(f.agents))
	for _, a := range f.agents {
		if a.Connected() {
			c.Connected++
		}
		c.Waiting += int64(a.Waiting())
	}
	return c
}

// Endings counts why attempts to connect failed and sessions ended, by the sentence that a real agent logs; the host's name is taken out.
func (f *Fleet) Endings() map[string]int {
	f.endings.mu.Lock()
	defer f.endings.mu.Unlock()
	return maps.Clone(f.endings.counts)
}

func (o *Options) name(i int) string { return o.Prefix + strconv.Itoa(i) }
