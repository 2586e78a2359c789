package wire

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"
)

// FireID is the id of a scheduled backup: equal for the same host, schedule, group and nominal local time, so that a fire runs
// at most once across restarts, reconnects, clock jumps and the repeated hour in autumn.
func FireID(host HostRef, schedule, group, nominal string) string {
	sum := sha256.Sum256([]byte(strings.Join([]string{host.Namespace, host.Name, schedule, group, nominal}, "\n")))
	return "fire-" + hex.EncodeToString(sum[:12])
}

// Fire asks whether a scheduled backup may run. Agent → gateway.
type Fire struct {
	// JobID is FireID of the rest.
	JobID       string `json:"jobID"`
	Schedule    string `json:"schedule"`
	SourceGroup string `json:"sourceGroup"`
	// Nominal is the local wall time that the cron expression names, before jitter: "2006-01-02T15:04".
	Nominal string `json:"nominal"`
	// Due is the instant at which it is to start, jitter included.
	Due time.Time `json:"due"`
	// Revision is that of the set which the fire comes from.
	Revision string `json:"revision"`
}

// NominalLayout is the time layout of Fire.Nominal.
const NominalLayout = "2006-01-02T15:04"

// MessageType implements Message.
func (*Fire) MessageType() Type { return TypeScheduleFire }

// Validate implements Message.
func (m *Fire) Validate() error {
	var c checks
	c.name("jobID", m.JobID)
	c.name("schedule", m.Schedule)
	c.name("sourceGroup", m.SourceGroup)
	c.name("nominal", m.Nominal)
	c.name("revision", m.Revision)
	if _, err := time.Parse(NominalLayout, m.Nominal); err != nil {
		c.failf("nominal %q is not of the form %s", m.Nominal, NominalLayout)
	}
	return c.err
}

// VerdictReason says why a fire is refused.
type VerdictReason string

// The reasons of a refused fire.
const (
	VerdictSuspended  VerdictReason = "Suspended"
	VerdictNotInSet   VerdictReason = "NotInCurrentSet"
	VerdictAlreadyRun VerdictReason = "AlreadyRun"
)

// Verdict answers a Fire. Gateway → agent. None within VerdictTimeout counts as disconnected.
type Verdict struct {
	JobID   string        `json:"jobID"`
	Admit   bool          `json:"admit"`
	Reason  VerdictReason `json:"reason,omitempty"`
	Message string        `json:"message,omitempty"`
}

// VerdictTimeout is how long an agent waits for a verdict.
const VerdictTimeout = 60 * time.Second

// MessageType implements Message.
func (*Verdict) MessageType() Type { return TypeFireVerdict }

// Validate implements Message.
func (m *Verdict) Validate() error {
	var c checks
	c.name("jobID", m.JobID)
	c.that(m.Admit || m.Reason != "", "reason is missing")
	c.optionalName("reason", string(m.Reason))
	c.text("message", m.Message, MaxString)
	return c.err
}
