package wire

import (
	"fmt"
	"regexp"
	"strings"
	"time"
)

// MaxForgets bounds the groups of one forget, MaxVerified those of one restore drill, MaxSample the files that a drill takes of each.
const (
	MaxForgets  = 1000
	MaxVerified = MaxGroups
	MaxSample   = 10_000
)

// Forget removes snapshots, group by group.
type Forget struct {
	Groups []ForgetGroup `json:"groups"`
}

// ForgetGroup is one run of restic forget: the snapshots of one host with one tag, by one policy. What it does not name, it never touches.
type ForgetGroup struct {
	// Name of the SourceGroup, for people; Host is the Host that it is of.
	Name string `json:"name"`
	Host string `json:"host"`
	// ResticHost and Tag select the snapshots. Never empty: restic takes an empty host for all of them.
	ResticHost string    `json:"resticHost"`
	Tag        string    `json:"tag"`
	Retention  Retention `json:"retention"`
}

// Retention is restic's policy. Zero counts and empty durations are absent rules.
type Retention struct {
	KeepLast    int `json:"keepLast,omitempty"`
	KeepHourly  int `json:"keepHourly,omitempty"`
	KeepDaily   int `json:"keepDaily,omitempty"`
	KeepWeekly  int `json:"keepWeekly,omitempty"`
	KeepMonthly int `json:"keepMonthly,omitempty"`
	KeepYearly  int `json:"keepYearly,omitempty"`
	// Durations as restic writes them: 1y6m14d12h.
	KeepWithin        string   `json:"keepWithin,omitempty"`
	KeepWithinHourly  string   `json:"keepWithinHourly,omitempty"`
	KeepWithinDaily   string   `json:"keepWithinDaily,omitempty"`
	KeepWithinWeekly  string   `json:"keepWithinWeekly,omitempty"`
	KeepWithinMonthly string   `json:"keepWithinMonthly,omitempty"`
	KeepWithinYearly  string   `json:"keepWithinYearly,omitempty"`
	KeepTags          []string `json:"keepTags,omitempty"`
}

// Prune frees the space of what no snapshot needs. It is only begun with a credential of its own (CredentialAdmin).
type Prune struct {
	// MaxUnused is restic's --max-unused: 5%, a size or unlimited; empty leaves restic's default.
	MaxUnused string `json:"maxUnused,omitempty"`
	// MaxRepackSize is restic's --max-repack-size, a size; empty means no bound.
	MaxRepackSize string `json:"maxRepackSize,omitempty"`
}

// Check tests a repository.
type Check struct {
	// ReadDataSubset is restic's --read-data-subset: a percentage, a size or n/t; empty reads no data.
	ReadDataSubset string `json:"readDataSubset,omitempty"`
}

// Verify is a restore drill: a random sample of files of the newest snapshot of each group is restored, and compared.
type Verify struct {
	Groups []VerifyGroup `json:"groups"`
	// Sample is the number of files per group.
	Sample int `json:"sample"`
}

// VerifyGroup names the snapshots of one group.
type VerifyGroup struct {
	Name       string `json:"name"`
	ResticHost string `json:"resticHost"`
	Tag        string `json:"tag"`
}

var (
	durationPattern = regexp.MustCompile(`^([0-9]+[yYmMdDhH])+$`)
	maxUnusedText   = regexp.MustCompile(`^([0-9]+(\.[0-9]+)?%|[0-9]+[kKmMgGtT]?|unlimited)$`)
	sizeText        = regexp.MustCompile(`^[0-9]+[kKmMgGtT]?$`)
	subsetText      = regexp.MustCompile(`^([0-9]+(\.[0-9]+)?%|[0-9]+[kKmMgGtT]|[0-9]+/[0-9]+)$`)
)

// Empty says that a policy has no rule: with it, forget would remove everything.
func (r *Retention) Empty() bool {
	return r.KeepLast == 0 && r.KeepHourly == 0 && r.KeepDaily == 0 && r.KeepWeekly == 0 && r.KeepMonthly == 0 && r.KeepYearly == 0 &&
		r.KeepWithin == "" && r.KeepWithinHourly == "" && r.KeepWithinDaily == "" && r.KeepWithinWeekly == "" && r.KeepWithinMonthly == "" &&
		r.KeepWithinYearly == "" && len(r.KeepTags) == 0
}

// Validate refuses an empty policy and rules that restic would not understand.
func (r *Retention) Validate() error {
	var c checks
	c.that(!r.Empty(), "no rule: at least one keep rule is needed")
	for _, rule := range []struct {
		field string
		value int
	}{{"keepLast", r.KeepLast}, {"keepHourly", r.KeepHourly}, {"keepDaily", r.KeepDaily}, {"keepWeekly", r.KeepWeekly}, {"keepMonthly", r.KeepMonthly}, {"keepYearly", r.KeepYearly}} {
		c.that(rule.value >= 0, "%s is negative", rule.field)
	}
	for _, rule := range []struct{ field, value string }{
		{"keepWithin", r.KeepWithin}, {"keepWithinHourly", r.KeepWithinHourly}, {"keepWithinDaily", r.KeepWithinDaily},
		{"keepWithinWeekly", r.KeepWithinWeekly}, {"keepWithinMonthly", r.KeepWithinMonthly}, {"keepWithinYearly", r.KeepWithinYearly},
	} {
		c.that(rule.value == "" || len(rule.value) <= 32 && durationPattern.MatchString(rule.value), "%s %q is no duration: write for instance 14d or 1y6m", rule.field, rule.value)
	}
	c.count("keepTags", len(r.KeepTags), MaxListed)
	for _, tag := range r.KeepTags {
		checkTag(&c, "keepTags", tag)
	}
	return c.err
}

// checkTag refuses what restic reads as something else: a comma as AND, an empty tag as "untagged".
func checkTag(c *checks, field, tag string) {
	c.name(field, tag)
	c.that(!strings.ContainsAny(tag, ", \t\r\n"), "%s %q holds a comma or white space", field, tag)
}

// Validate refuses empty names and policies.
func (f *Forget) Validate() error {
	var c checks
	c.that(len(f.Groups) > 0, "groups are missing")
	c.count("groups", len(f.Groups), MaxForgets)
	for i := range f.Groups {
		g := &f.Groups[i]
		field := fmt.Sprintf("groups[%d]", i)
		c.name(field+".name", g.Name)
		c.name(field+".host", g.Host)
		c.name(field+".resticHost", g.ResticHost)
		checkTag(&c, field+".tag", g.Tag)
		c.nested(field+".retention", g.Retention.Validate())
	}
	return c.err
}

// Validate checks the options.
func (p *Prune) Validate() error {
	var c checks
	c.that(p.MaxUnused == "" || len(p.MaxUnused) <= 16 && maxUnusedText.MatchString(p.MaxUnused), "maxUnused %q is neither a percentage, a size nor unlimited", p.MaxUnused)
	c.that(p.MaxRepackSize == "" || len(p.MaxRepackSize) <= 16 && sizeText.MatchString(p.MaxRepackSize), "maxRepackSize %q is not a size", p.MaxRepackSize)
	return c.err
}

// Validate checks the option.
func (k *Check) Validate() error {
	var c checks
	c.that(k.ReadDataSubset == "" || len(k.ReadDataSubset) <= 16 && subsetText.MatchString(k.ReadDataSubset), "readDataSubset %q is neither a percentage, a size nor n/t", k.ReadDataSubset)
	return c.err
}

// Validate checks names and bounds.
func (v *Verify) Validate() error {
	var c checks
	c.that(len(v.Groups) > 0, "groups are missing")
	c.count("groups", len(v.Groups), MaxVerified)
	for i, g := range v.Groups {
		field := fmt.Sprintf("groups[%d]", i)
		c.name(field+".name", g.Name)
		c.name(field+".resticHost", g.ResticHost)
		checkTag(&c, field+".tag", g.Tag)
	}
	c.that(v.Sample > 0 && v.Sample <= MaxSample, "sample is %d, want 1 to %d", v.Sample, MaxSample)
	return c.err
}

// ForgetSummary is what a forget really removed, told from restic's output.
type ForgetSummary struct {
	Kept    int64 `json:"kept"`
	Removed int64 `json:"removed"`
	// Refused counts the snapshots that the repository would not let go.
	Refused int64               `json:"refused,omitempty"`
	Groups  []ForgetGroupResult `json:"groups,omitempty"`
}

// ForgetGroupResult is one group of a forget; at most MaxForgetResults travel.
type ForgetGroupResult struct {
	Name    string `json:"name"`
	Host    string `json:"host"`
	Kept    int64  `json:"kept"`
	Removed int64  `json:"removed"`
	Refused int64  `json:"refused,omitempty"`
	// Error is set when this group's run failed; the others were run all the same.
	Error string `json:"error,omitempty"`
}

// MaxForgetResults bounds the groups in a ForgetSummary; those with trouble come first.
const MaxForgetResults = 100

// PruneSummary is what a prune did, as far as restic says it.
type PruneSummary struct {
	// BytesFreed and BytesRemaining are restic's own figures.
	BytesFreed     int64 `json:"bytesFreed"`
	BytesRemaining int64 `json:"bytesRemaining"`
	BytesUnused    int64 `json:"bytesUnused,omitempty"`
}

// CheckSummary is restic's own summary of a check.
type CheckSummary struct {
	Errors int64 `json:"errors"`
	// ReadDataSubset is what was asked for.
	ReadDataSubset string `json:"readDataSubset,omitempty"`
	// Problems are the first messages, at most MaxListed.
	Problems []string `json:"problems,omitempty"`
	// SuggestRepairIndex and SuggestPrune are restic's hints.
	SuggestRepairIndex bool `json:"suggestRepairIndex,omitempty"`
	SuggestPrune       bool `json:"suggestPrune,omitempty"`
}

// VerifySummary is the result of a restore drill.
type VerifySummary struct {
	Groups []VerifyGroupResult `json:"groups,omitempty"`
	// FilesVerified and BytesVerified were restored and found equal to what the snapshot holds.
	FilesVerified int64 `json:"filesVerified"`
	BytesVerified int64 `json:"bytesVerified"`
	// FilesMatchingLive are those of them that were also compared with the unchanged file on the machine.
	FilesMatchingLive int64 `json:"filesMatchingLive"`
	// FilesFailed could not be restored, or differ; FailedPaths names at most MaxListed.
	FilesFailed int64    `json:"filesFailed,omitempty"`
	FailedPaths []string `json:"failedPaths,omitempty"`
}

// VerifyGroupResult is one group of a drill.
type VerifyGroupResult struct {
	Name string `json:"name"`
	// SnapshotID and SnapshotTime are of the snapshot that was drilled; empty when the group has none.
	SnapshotID   string    `json:"snapshotID,omitempty"`
	SnapshotTime time.Time `json:"snapshotTime,omitzero"`
	// FilesInSnapshot is how many regular files the sample was drawn from.
	FilesInSnapshot int64 `json:"filesInSnapshot"`
	FilesVerified   int64 `json:"filesVerified"`
	FilesFailed     int64 `json:"filesFailed,omitempty"`
	// Error is set when the group could not be drilled at all.
	Error string `json:"error,omitempty"`
}

func (m *JobFinished) checkMaintenance(c *checks) {
	if m.Forget != nil {
		c.count("forget.groups", len(m.Forget.Groups), MaxForgetResults)
		for i, g := range m.Forget.Groups {
			c.name(fmt.Sprintf("forget.groups[%d].name", i), g.Name)
			c.name(fmt.Sprintf("forget.groups[%d].host", i), g.Host)
			c.text(fmt.Sprintf("forget.groups[%d].error", i), g.Error, MaxString)
		}
	}
	if m.Check != nil {
		c.optionalName("check.readDataSubset", m.Check.ReadDataSubset)
		c.texts("check.problems", m.Check.Problems, MaxListed)
	}
	if m.Verify != nil {
		c.texts("verify.failedPaths", m.Verify.FailedPaths, MaxListed)
		c.count("verify.groups", len(m.Verify.Groups), MaxVerified)
		for i, g := range m.Verify.Groups {
			c.name(fmt.Sprintf("verify.groups[%d].name", i), g.Name)
			c.optionalName(fmt.Sprintf("verify.groups[%d].snapshotID", i), g.SnapshotID)
			c.text(fmt.Sprintf("verify.groups[%d].error", i), g.Error, MaxString)
		}
	}
}
