package job

// Tell has the Observer told the present state of one job again: that it runs or waits, or its result. False when the id was never accepted.
func (m *Manager) Tell(id string) bool {
	if !m.Known(id) {
		return false
	}
	m.announce(id)
	return true
}
