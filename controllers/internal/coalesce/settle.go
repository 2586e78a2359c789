package coalesce

import (
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
)

// SettleTime is how long what has just been changed is left unsaid: an agent that is connected applies a set within less, and then one write tells the end of it.
const SettleTime = 200 * time.Millisecond

// fallsBehind tells whether a summary says that more machines than before do not have yet what they are to have. Of a new generation, that is any.
func fallsBehind(before, after *v1alpha1.FleetSummary, newGeneration bool) bool {
	behind := after.HostsMatched - after.HostsApplied
	return behind > 0 && (newGeneration || behind > before.HostsMatched-before.HostsApplied)
}

// Settle is how long a summary is not to be written yet, by which more machines than before do not have what they are to have; 0 once it has been so for a while, or
// is not.
func (c *Coalescer) Settle(name types.NamespacedName, before, after *v1alpha1.FleetSummary, newGeneration bool) time.Duration {
	behind := fallsBehind(before, after, newGeneration)
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if c.Now != nil {
		now = c.Now()
	}
	if !behind {
		delete(c.behind, name)
		return 0
	}
	since, known := c.behind[name]
	if !known || now.Before(since) { // a clock that was set back makes nobody wait for long
		if c.behind == nil {
			c.behind = map[types.NamespacedName]time.Time{}
		}
		c.behind[name], since = now, now
	}
	wait := max(since.Add(SettleTime).Sub(now), 0)
	if last, ok := c.last[name]; ok && wait > 0 {
		last.at = last.before // it told nobody anything, so what comes next need not wait for long
		c.last[name] = last
	}
	return wait
}
