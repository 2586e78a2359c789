package wire

import (
	"encoding/json"
	"fmt"
	"time"
)

// ScheduleSetLabel is the domain label of a schedule set.
const ScheduleSetLabel = "restic-manager/schedule-set/v1"

// ScheduleSet is everything that one machine is to do by itself. It is signed as canonical JSON; what is not in it, the agent
// does not obey.
type ScheduleSet struct {
	Label string  `json:"label"`
	Host  HostRef `json:"host"`
	// IdentityHash binds the set to the machine's keys.
	IdentityHash string `json:"identityHash"`
	// Serial only grows; an agent refuses a set with a smaller serial than the one in force.
	Serial int64 `json:"serial"`
	// Revision names the content: equal inputs give an equal revision.
	Revision string `json:"revision"`
	// Tombstone says that the Host was removed: stop firing, keep nothing secret.
	Tombstone bool `json:"tombstone,omitempty"`
	// Suspended stops all scheduled work of the host.
	Suspended bool `json:"suspended,omitempty"`
	// ResticHost is the value of restic's --host.
	ResticHost string        `json:"resticHost"`
	Repository Repository    `json:"repository"`
	Bandwidth  Bandwidth     `json:"bandwidth,omitzero"`
	Groups     []SourceGroup `json:"groups,omitempty"`
	Schedules  []Schedule    `json:"schedules,omitempty"`
	// Credentials holds the hash of each sealed credential that travels beside the set.
	Credentials []CredentialHash `json:"credentials,omitempty"`
	// SigningKeys are the controllers' keys that the agent accepts from now on.
	SigningKeys []SigningKey `json:"signingKeys"`
	// TLSPins replaces the agent's pins of the gateway; empty leaves them as they are.
	TLSPins []string `json:"tlsPins,omitempty"`
}

// Repository is where restic writes.
type Repository struct {
	// URL is a restic repository location without user or password.
	URL string `json:"url"`
	// CABundle is PEM, for restic's --cacert.
	CABundle string `json:"caBundle,omitempty"`
	// Credential names the sealed credential that opens it.
	Credential string `json:"credential"`
}

// Bandwidth caps restic; 0 means no cap. Unit: KiB per second, as restic's --limit-upload.
type Bandwidth struct {
	UploadKBps   int `json:"uploadKBps,omitempty"`
	DownloadKBps int `json:"downloadKBps,omitempty"`
}

// SourceGroup is what to back up together, under one tag.
type SourceGroup struct {
	Name       string `json:"name"`
	Generation int64  `json:"generation"`
	Tag        string `json:"tag"`

	Includes          []string `json:"includes"`
	Excludes          []string `json:"excludes,omitempty"`
	IExcludes         []string `json:"iexcludes,omitempty"`
	ExcludeIfPresent  []string `json:"excludeIfPresent,omitempty"`
	ExcludeCaches     bool     `json:"excludeCaches,omitempty"`
	ExcludeLargerThan string   `json:"excludeLargerThan,omitempty"`
	OneFileSystem     bool     `json:"oneFileSystem,omitempty"`
	// Bandwidth overrides the host's caps where it is set.
	Bandwidth Bandwidth `json:"bandwidth,omitzero"`
}

// Policies for a fire that gets no verdict.
const (
	WhenDisconnectedRun  = "Run"
	WhenDisconnectedWait = "Wait"
)

// Schedule is when to back up which groups.
type Schedule struct {
	Name       string `json:"name"`
	Generation int64  `json:"generation"`
	// Cron is in the syntax of robfig/cron/v3 (five fields or a @descriptor).
	Cron string `json:"cron"`
	// TimeZone is an IANA name, never empty in a compiled set.
	TimeZone string `json:"timeZone"`
	// JitterSeconds spreads the fires of hosts over this long, deterministically per host.
	JitterSeconds int64 `json:"jitterSeconds,omitempty"`
	Suspended     bool  `json:"suspended,omitempty"`
	// Groups are names of groups in the same set.
	Groups           []string `json:"groups"`
	WhenDisconnected string   `json:"whenDisconnected"`
	// StartingDeadlineSeconds is how late a fire may still start; 0 means no limit.
	StartingDeadlineSeconds int64 `json:"startingDeadlineSeconds,omitempty"`
}

// CredentialHash binds a sealed credential to the signed set.
type CredentialHash struct {
	Name string `json:"name"`
	// SHA256 is over the sealed bytes, in hex.
	SHA256 string `json:"sha256"`
}

// SealedCredential is a Credential sealed to the machine.
type SealedCredential struct {
	Name string `json:"name"`
	// Sealed is what seal.Seal returned.
	Sealed []byte `json:"sealed"`
}

// Credential is the plaintext: environment variables for restic. It exists only in memory and inside sealed bytes.
type Credential struct {
	Environment map[string]string `json:"environment"`
}

// CredentialRepository is the name of the credential that opens the host's own repository.
const CredentialRepository = "repository"

// MaxCredentials bounds the credentials of a set, MaxSealed one of them, in bytes.
const (
	MaxCredentials = 16
	MaxSealed      = 64 << 10
)

// Validate checks what holds for every set; whether it is meant for this machine is for the agent to decide.
func (s *ScheduleSet) Validate() error {
	var c checks
	c.that(s.Label == ScheduleSetLabel, "label is %q, want %q", s.Label, ScheduleSetLabel)
	c.nested("host", s.Host.Validate())
	c.name("identityHash", s.IdentityHash)
	c.that(s.Serial > 0, "serial is missing")
	c.name("revision", s.Revision)
	c.count("signingKeys", len(s.SigningKeys), MaxSignatures)
	for _, k := range s.SigningKeys {
		c.nested("signingKeys", k.Validate())
	}
	c.texts("tlsPins", s.TLSPins, 16)
	if s.Tombstone {
		return c.err
	}
	c.that(len(s.SigningKeys) > 0, "signingKeys are missing")
	c.name("resticHost", s.ResticHost)
	c.that(s.Repository.URL != "", "repository.url is missing")
	c.text("repository.url", s.Repository.URL, MaxString)
	c.text("repository.caBundle", s.Repository.CABundle, 64<<10)
	c.name("repository.credential", s.Repository.Credential)
	c.count("groups", len(s.Groups), MaxGroups)
	c.count("schedules", len(s.Schedules), MaxSchedules)
	c.count("credentials", len(s.Credentials), MaxCredentials)
	groups := make(map[string]bool, len(s.Groups))
	for i := range s.Groups {
		g := &s.Groups[i]
		c.nested(fmt.Sprintf("groups[%d]", i), g.Validate())
		c.that(!groups[g.Name], "groups[%d]: name %q stands twice", i, g.Name)
		groups[g.Name] = true
	}
	for i := range s.Schedules {
		sch := &s.Schedules[i]
		c.nested(fmt.Sprintf("schedules[%d]", i), sch.validate(groups))
	}
	for _, h := range s.Credentials {
		c.name("credentials.name", h.Name)
		c.that(len(h.SHA256) == 64, "credentials.sha256 is not a SHA-256 in hex")
	}
	return c.err
}

// Validate checks one group.
func (g *SourceGroup) Validate() error {
	var c checks
	c.name("name", g.Name)
	c.name("tag", g.Tag)
	c.that(len(g.Includes) > 0, "includes are missing")
	c.texts("includes", g.Includes, MaxPaths)
	c.texts("excludes", g.Excludes, MaxPaths)
	c.texts("iexcludes", g.IExcludes, MaxPaths)
	c.texts("excludeIfPresent", g.ExcludeIfPresent, MaxPaths)
	c.text("excludeLargerThan", g.ExcludeLargerThan, 32)
	return c.err
}

func (s *Schedule) validate(groups map[string]bool) error {
	var c checks
	c.name("name", s.Name)
	c.name("cron", s.Cron)
	c.name("timeZone", s.TimeZone)
	c.that(s.JitterSeconds >= 0 && s.JitterSeconds <= 86400, "jitterSeconds is %d, want 0 to 86400", s.JitterSeconds)
	c.that(s.WhenDisconnected == WhenDisconnectedRun || s.WhenDisconnected == WhenDisconnectedWait,
		"whenDisconnected is %q, want Run or Wait", s.WhenDisconnected)
	c.that(s.StartingDeadlineSeconds >= 0, "startingDeadlineSeconds is negative")
	c.that(len(s.Groups) > 0, "groups are missing")
	c.count("groups", len(s.Groups), MaxGroups)
	for _, g := range s.Groups {
		c.that(groups[g], "group %q is not in the set", g)
	}
	return c.err
}

// ParseScheduleSet parses and validates a bundle whose signature the caller has verified.
func ParseScheduleSet(bundle string) (*ScheduleSet, error) {
	return parseDocument[ScheduleSet](bundle)
}

// document is what signed documents have in common.
type document[T any] interface {
	*T
	Validate() error
}

func parseDocument[T any, P document[T]](raw string) (P, error) {
	if len(raw) > MaxBundle {
		return nil, fmt.Errorf("document of %d bytes is over the limit of %d", len(raw), MaxBundle)
	}
	v := P(new(T))
	if err := json.Unmarshal([]byte(raw), v); err != nil {
		return nil, fmt.Errorf("document does not parse: %w", err)
	}
	if err := v.Validate(); err != nil {
		return nil, err
	}
	return v, nil
}

// EncodeDocument validates a signed document's content and returns the exact bytes to sign.
func EncodeDocument(v interface{ Validate() error }) (string, error) {
	if err := v.Validate(); err != nil {
		return "", err
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return "", err
	}
	if len(raw) > MaxBundle {
		return "", fmt.Errorf("document of %d bytes is over the limit of %d", len(raw), MaxBundle)
	}
	return string(raw), nil
}

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
	// An unsigned set is for the agent to refuse in words, not for the envelope to drop.
	c.count("signatures", len(m.Signatures), MaxSignatures)
	checkSealed(&c, m.Credentials)
	return c.err
}

func checkSealed(c *checks, credentials []SealedCredential) {
	c.count("credentials", len(credentials), MaxCredentials)
	for _, s := range credentials {
		c.name("credentials.name", s.Name)
		c.that(len(s.Sealed) > 0 && len(s.Sealed) <= MaxSealed, "credentials.sealed has %d bytes, want 1 to %d", len(s.Sealed), MaxSealed)
	}
}

// RefusalReason says why an agent does not obey a set or a command.
type RefusalReason string

// The reasons of a refusal.
const (
	RefusalBadSignature RefusalReason = "BadSignature"
	RefusalWrongHost    RefusalReason = "WrongHost"
	// RefusalWrongIdentity: made for other keys than this machine's.
	RefusalWrongIdentity RefusalReason = "WrongIdentity"
	RefusalOlderSerial   RefusalReason = "OlderSerial"
	RefusalBadCredential RefusalReason = "BadCredential"
	RefusalInvalid       RefusalReason = "Invalid"
	RefusalExpired       RefusalReason = "Expired"
	// RefusalNotAllowed: the machine's agent.yaml does not consent.
	RefusalNotAllowed RefusalReason = "NotAllowedByMachine"
	// RefusalStorage: the agent could not store it.
	RefusalStorage RefusalReason = "StorageFailed"
)

// SetAck answers a SetOffer once the set is in force and on disk, or refused. Agent → gateway.
type SetAck struct {
	Revision string `json:"revision"`
	Applied  bool   `json:"applied"`
	// Reason and Message say why a set was refused.
	Reason  RefusalReason `json:"reason,omitempty"`
	Message string        `json:"message,omitempty"`
}

// MessageType implements Message.
func (*SetAck) MessageType() Type { return TypeScheduleAck }

// Validate implements Message.
func (m *SetAck) Validate() error {
	var c checks
	c.name("revision", m.Revision)
	c.that(m.Applied || m.Reason != "", "reason is missing")
	c.optionalName("reason", string(m.Reason))
	c.text("message", m.Message, MaxString)
	return c.err
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
