package wire

import "time"

// RepositoryState is what the machine last saw of its repository.
type RepositoryState string

// The states of a repository.
const (
	RepositoryReady    RepositoryState = "Ready"
	RepositoryRetrying RepositoryState = "Retrying"
	RepositoryFailed   RepositoryState = "Failed"
)

// RepoState tells a change of the repository's state. Agent → gateway; durable, sent on change only.
type RepoState struct {
	Report  ReportID        `json:"report"`
	State   RepositoryState `json:"state"`
	Reason  Reason          `json:"reason,omitempty"`
	Message string          `json:"message,omitempty"`
	// URL is redacted; it tells which repository was meant when the spec changes meanwhile.
	URL  string    `json:"url"`
	Time time.Time `json:"time"`
}

// MessageType implements Message.
func (*RepoState) MessageType() Type { return TypeRepoState }

// ID implements Report.
func (m *RepoState) ID() ReportID { return m.Report }

// SetID implements Report.
func (m *RepoState) SetID(id ReportID) { m.Report = id }

// Validate implements Message.
func (m *RepoState) Validate() error {
	var c checks
	m.Report.validate(&c)
	switch m.State {
	case RepositoryReady:
	case RepositoryRetrying, RepositoryFailed:
		c.name("reason", string(m.Reason))
	default:
		c.failf("state %q is not known", m.State)
	}
	c.text("message", m.Message, MaxString)
	c.text("url", m.URL, MaxString)
	return c.err
}
