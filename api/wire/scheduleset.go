package wire

import (
	"fmt"
	"strings"
)

// ScheduleSetLabel is the domain label of a schedule set.
const ScheduleSetLabel = "restic-manager/schedule-set/v1"

// ScheduleSet is everything that one machine is to do by itself. It is signed as canonical JSON; what is not in it, the agent
// does not obey.
type ScheduleSet struct {
	Label string  `json:"label"`
	Host  HostRef `json:"host"`
	// HostUID tells a Host that was deleted and made again from the one before: the machine tells it everything anew. Nothing else follows from it.
	HostUID string `json:"hostUID,omitempty"`
	// IdentityHash binds the set to the machine's keys.
	IdentityHash string `json:"identityHash"`
	// Serial only grows; an agent refuses a set with a smaller serial than the one in force.
	Serial int64 `json:"serial"`
	// Revision names the content: equal inputs give an equal revision.
	Revision string `json:"revision"`
	// Tombstone says that the Host was removed: stop firing, keep nothing secret.
	Tombstone bool `json:"tombstone,omitempty"`
	// KeepCredentials, with a tombstone, lets the machine keep the credentials that it holds, for export-credentials alone: nobody is known to have a copy
	// of the password that was made for its repository.
	KeepCredentials bool `json:"keepCredentials,omitempty"`
	// Suspended stops all scheduled work of the host.
	Suspended bool `json:"suspended,omitempty"`
	// ResticHost is the value of restic's --host.
	ResticHost string     `json:"resticHost"`
	Repository Repository `json:"repository"`
	Bandwidth  Bandwidth  `json:"bandwidth,omitzero"`
	// Hooks of the host, around those of each group.
	Hooks     *Hooks        `json:"hooks,omitempty"`
	Groups    []SourceGroup `json:"groups,omitempty"`
	Schedules []Schedule    `json:"schedules,omitempty"`
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
	// SameAs is the URL by which the machines know the repository, where URL is another way to it (that of whoever may delete): jobs of both wait for
	// each other.
	SameAs string `json:"sameAs,omitempty"`
	// Credential names the sealed credential that opens it.
	Credential string `json:"credential"`
}

// SourceGroup is what to back up together, under one tag.
type SourceGroup struct {
	Name       string `json:"name"`
	Generation int64  `json:"generation"`
	Tag        string `json:"tag"`

	// Includes are the paths to back up; Command is a command whose output is backed up instead, as one file named FileName.
	Includes          []string `json:"includes,omitempty"`
	Command           []string `json:"command,omitempty"`
	FileName          string   `json:"fileName,omitempty"`
	Excludes          []string `json:"excludes,omitempty"`
	IExcludes         []string `json:"iexcludes,omitempty"`
	ExcludeIfPresent  []string `json:"excludeIfPresent,omitempty"`
	ExcludeCaches     bool     `json:"excludeCaches,omitempty"`
	ExcludeLargerThan string   `json:"excludeLargerThan,omitempty"`
	OneFileSystem     bool     `json:"oneFileSystem,omitempty"`
	// Bandwidth overrides the host's caps where it is set.
	Bandwidth Bandwidth `json:"bandwidth,omitzero"`
	Hooks     *Hooks    `json:"hooks,omitempty"`
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

// Validate checks what holds for every set; whether it is meant for this machine is for the agent to decide.
func (s *ScheduleSet) Validate() error {
	var c checks
	c.that(s.Label == ScheduleSetLabel, "label is %q, want %q", s.Label, ScheduleSetLabel)
	c.nested("host", s.Host.Validate())
	c.text("hostUID", s.HostUID, MaxName)
	c.name("identityHash", s.IdentityHash)
	c.that(s.Serial > 0, "serial is missing")
	c.name("revision", s.Revision)
	// A tombstone too: without them no later set could be trusted.
	c.that(len(s.SigningKeys) > 0, "signingKeys are missing")
	c.count("signingKeys", len(s.SigningKeys), MaxSignatures)
	for _, k := range s.SigningKeys {
		c.nested("signingKeys", k.Validate())
	}
	c.texts("tlsPins", s.TLSPins, 16)
	c.that(s.Tombstone || !s.KeepCredentials, "keepCredentials belongs to a tombstone")
	if s.Tombstone {
		return c.err
	}
	c.name("resticHost", s.ResticHost)
	c.that(s.Repository.URL != "", "repository.url is missing")
	c.text("repository.url", s.Repository.URL, MaxString)
	c.text("repository.caBundle", s.Repository.CABundle, 64<<10)
	c.name("repository.credential", s.Repository.Credential)
	c.count("groups", len(s.Groups), MaxGroups)
	c.count("schedules", len(s.Schedules), MaxSchedules)
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
	checkHashes(&c, s.Credentials)
	c.nested("bandwidth", s.Bandwidth.Validate())
	if s.Hooks != nil {
		c.nested("hooks", s.Hooks.Validate())
	}
	return c.err
}

// Validate checks one group.
func (g *SourceGroup) Validate() error {
	var c checks
	c.name("name", g.Name)
	c.name("tag", g.Tag)
	c.that((len(g.Includes) > 0) != (len(g.Command) > 0), "exactly one of includes and command is needed")
	if len(g.Command) > 0 {
		checkCommand(&c, "command", g.Command)
		c.name("fileName", g.FileName)
		c.that(!strings.ContainsAny(g.FileName, "/\x00"), "fileName %q is not a plain file name", g.FileName)
	}
	c.nested("bandwidth", g.Bandwidth.Validate())
	if g.Hooks != nil {
		c.nested("hooks", g.Hooks.Validate())
	}
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
