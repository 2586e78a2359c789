package cronspec

import "sync"

// maxParsed bounds what is remembered; a fleet has a few expressions, each on thousands of hosts.
const maxParsed = 1024

// parsed remembers what was parsed: a Spec never changes.
var parsed memory

type question struct{ expression, timeZone string }

type memory struct {
	mu    sync.RWMutex
	specs map[question]*Spec
}

func (m *memory) get(expression, timeZone string) *Spec {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.specs[question{expression, timeZone}]
}

func (m *memory) put(expression, timeZone string, s *Spec) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.specs == nil || len(m.specs) >= maxParsed {
		m.specs = map[question]*Spec{} // who is asked for often is back soon
	}
	m.specs[question{expression, timeZone}] = s
}
