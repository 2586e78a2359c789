package wire

// SetOffer carries the newest signed set. Gateway → agent; a full replacement, the latest wins.
type SetOffer struct {
	Revision string `json:"revision"`
	// Bundle is the exact signed JSON of a ScheduleSet.
	Bundle      string             `json:"bundle"`
	Signatures  []Signature        `json:"signatures"`
	Credentials []SealedCredential `json:"credentials,omitempty"`
}

// MessageType implements Message.
func (*SetOffer) MessageType() Type { return TypeScheduleSet }

// Validate implements Message.
func (m *SetOffer) Validate() error {
	var c checks
	c.name("revision", m.Revision)
	c.that(m.Bundle != "", "bundle is missing")
	c.text("bundle", m.Bundle, MaxBundle)
	checkSignatures(&c, m.Signatures)
	checkSealed(&c, m.Credentials)
	return c.err
}

// SetAck answers a SetOffer once the set is in force and on disk, or refused. Agent → gateway.
type SetAck struct {
	Revision string `json:"revision"`
	Applied  bool   `json:"applied"`
	// Serial of the applied set.
	Serial int64 `json:"serial,omitempty"`
	// Reason and Message say why a set was refused.
	Reason  RefusalReason `json:"reason,omitempty"`
	Message string        `json:"message,omitempty"`
	// NotAllowed lists what of an applied set the machine's owner does not allow (agent.yaml): the backups of these groups fail, all else works.
	NotAllowed []NotAllowed `json:"notAllowed,omitempty"`
}

// NotAllowed is one thing that the machine's owner does not allow.
type NotAllowed struct {
	// SourceGroup is empty for the host's own hooks, which concern every group.
	SourceGroup string `json:"sourceGroup,omitempty"`
	// What is "hooks" or "commands": the name of the consent in agent.yaml.
	What string `json:"what"`
	// Message says what is refused and how the owner can allow it.
	Message string `json:"message"`
}

// MessageType implements Message.
func (*SetAck) MessageType() Type { return TypeScheduleAck }

// Validate implements Message.
func (m *SetAck) Validate() error {
	var c checks
	c.name("revision", m.Revision)
	c.that(m.Applied || m.Reason != "", "reason is missing")
	c.that(m.Serial >= 0, "serial is negative")
	c.optionalName("reason", string(m.Reason))
	c.text("message", m.Message, MaxString)
	c.count("notAllowed", len(m.NotAllowed), MaxListed)
	for _, n := range m.NotAllowed {
		c.optionalName("notAllowed.sourceGroup", n.SourceGroup)
		c.name("notAllowed.what", n.What)
		c.text("notAllowed.message", n.Message, MaxString)
	}
	return c.err
}
