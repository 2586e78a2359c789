package compile

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/controllers/internal/convert"
)

// Input is everything that a machine's schedule set follows from.
type Input struct {
	Host *v1alpha1.Host
	// IdentityHash is that of the host's pinned keys.
	IdentityHash string
	// Groups and Schedules are those of the host's namespace, in any order; at least those that select the host, the Schedules that name one of these, and the
	// groups that such a Schedule names.
	Groups    []v1alpha1.SourceGroup
	Schedules []v1alpha1.Schedule
	// SigningKeys are the controllers' public keys; TLSPins pin the gateway.
	SigningKeys []wire.SigningKey
	TLSPins     []string
}

// Compile returns the set for the host, without serial, revision and credential hashes, and what had to be left out of it.
func Compile(in Input) (wire.ScheduleSet, []Finding) {
	ref := convert.Ref(in.Host)
	groups, findings := groupsOf(in.Host, in.Groups)
	schedules, more := schedulesOf(in.Host, in.Schedules, in.Groups, groups)
	findings = slices.Concat(findings, more, CheckHost(in.Host), tagConflicts(in.Host, in.Groups))
	return wire.ScheduleSet{
		Label:        wire.ScheduleSetLabel,
		Host:         ref,
		HostUID:      string(in.Host.UID),
		IdentityHash: in.IdentityHash,
		Suspended:    in.Host.Spec.Suspend,
		ResticHost:   ref.ResticHost(),
		Repository:   Repository(in.Host),
		Bandwidth:    Bandwidth(in.Host),
		Hooks:        Hooks(in.Host.Spec.Hooks),
		Groups:       groups,
		Schedules:    schedules,
		SigningKeys:  sortedKeys(in.SigningKeys),
		TLSPins:      slices.Sorted(slices.Values(in.TLSPins)),
	}, sortFindings(findings)
}

// Repository is the host's repository as the agent gets it.
func Repository(host *v1alpha1.Host) wire.Repository {
	return wire.Repository{
		URL:        host.Spec.Repository.URL,
		CABundle:   host.Spec.Repository.CABundle,
		Credential: wire.CredentialRepository,
	}
}

// Group is a source group as the agent gets it.
func Group(group *v1alpha1.SourceGroup) wire.SourceGroup {
	spec := &group.Spec
	return wire.SourceGroup{
		Name:              group.Name,
		Generation:        group.Generation,
		Tag:               group.TagOrName(),
		Includes:          spec.Includes,
		Command:           spec.Command,
		FileName:          spec.FileName,
		Excludes:          spec.Excludes,
		IExcludes:         spec.IExcludes,
		ExcludeIfPresent:  spec.ExcludeIfPresent,
		ExcludeCaches:     spec.ExcludeCaches,
		ExcludeLargerThan: spec.ExcludeLargerThan,
		OneFileSystem:     spec.OneFileSystem,
		Bandwidth:         bandwidth(spec.Bandwidth),
		Hooks:             Hooks(spec.Hooks),
	}
}

// groupsOf returns the valid groups that are for the host, sorted by name.
func groupsOf(host *v1alpha1.Host, all []v1alpha1.SourceGroup) ([]wire.SourceGroup, []Finding) {
	var groups []wire.SourceGroup
	var findings []Finding
	for i := range all {
		group := &all[i]
		if !group.DeletionTimestamp.IsZero() {
			continue
		}
		// A selector that does not parse is told at the group; it is for no host.
		if matches, err := Matches(group.Spec.Selector, host); err != nil || !matches {
			continue
		}
		if invalid := CheckGroup(group); len(invalid) > 0 {
			findings = append(findings, invalid...)
			continue
		}
		groups = append(groups, Group(group))
	}
	slices.SortFunc(groups, func(a, b wire.SourceGroup) int { return cmp.Compare(a.Name, b.Name) })
	if n := len(groups); n > wire.MaxGroups {
		findings = append(findings, tooMany(host, "SourceGroups", n, wire.MaxGroups, groups[wire.MaxGroups].Name))
		groups = groups[:wire.MaxGroups]
	}
	return groups, findings
}

// schedulesOf returns the valid schedules that fire at least one of the host's groups, sorted by name, with those groups alone.
func schedulesOf(host *v1alpha1.Host, all []v1alpha1.Schedule, allGroups []v1alpha1.SourceGroup, groups []wire.SourceGroup) ([]wire.Schedule, []Finding) {
	own := make(map[string]bool, len(groups))
	for i := range groups {
		own[groups[i].Name] = true
	}
	var schedules []wire.Schedule
	var findings []Finding
	for i := range all {
		schedule := &all[i]
		if !schedule.DeletionTimestamp.IsZero() {
			continue
		}
		fires, missing := firesOn(schedule, allGroups, own)
		narrow, err := labelMatcher(schedule.Spec.HostSelector)
		if err != nil || !narrow(host) || len(fires) == 0 {
			continue
		}
		findings = append(findings, missing...)
		if invalid := CheckSchedule(schedule); len(invalid) > 0 {
			findings = append(findings, invalid...)
			continue
		}
		schedules = append(schedules, compiledSchedule(schedule, fires))
	}
	slices.SortFunc(schedules, func(a, b wire.Schedule) int { return cmp.Compare(a.Name, b.Name) })
	if n := len(schedules); n > wire.MaxSchedules {
		findings = append(findings, tooMany(host, "Schedules", n, wire.MaxSchedules, schedules[wire.MaxSchedules].Name))
		schedules = schedules[:wire.MaxSchedules]
	}
	return schedules, findings
}

// firesOn returns the names of the schedule's groups that the host has, sorted, and a finding for each that nobody has.
func firesOn(schedule *v1alpha1.Schedule, allGroups []v1alpha1.SourceGroup, own map[string]bool) ([]string, []Finding) {
	var fires []string
	var missing []Finding
	for _, name := range schedule.Spec.SourceGroups {
		switch {
		case own[name]:
			fires = append(fires, name)
		case findGroup(allGroups, name) == nil:
			missing = append(missing, groupNotFound(schedule.Name, name))
		}
	}
	slices.Sort(fires)
	return slices.Compact(fires), missing
}

func compiledSchedule(schedule *v1alpha1.Schedule, groups []string) wire.Schedule {
	spec := &schedule.Spec
	compiled := wire.Schedule{
		Name:             schedule.Name,
		Generation:       schedule.Generation,
		Cron:             spec.Cron,
		TimeZone:         cmp.Or(spec.TimeZone, "UTC"),
		Suspended:        spec.Suspend,
		Groups:           groups,
		WhenDisconnected: cmp.Or(string(spec.WhenDisconnected), wire.WhenDisconnectedRun),
	}
	if spec.Jitter != nil {
		compiled.JitterSeconds = int64(spec.Jitter.Seconds())
	}
	if spec.StartingDeadline != nil {
		compiled.StartingDeadlineSeconds = int64(spec.StartingDeadline.Seconds())
	}
	return compiled
}

func tooMany(host *v1alpha1.Host, what string, n, limit int, first string) Finding {
	return Finding{
		Kind: KindHost, Name: host.Name, Field: "metadata.labels", Reason: v1alpha1.ReasonInvalid,
		Message: fmt.Sprintf("%d %s are for this Host, at most %d can be: those from %q on, by name, are left out; select fewer", n, what, limit, first),
	}
}

func sortedKeys(keys []wire.SigningKey) []wire.SigningKey {
	sorted := slices.Clone(keys)
	slices.SortFunc(sorted, func(a, b wire.SigningKey) int { return cmp.Compare(a.KeyID, b.KeyID) })
	return sorted
}
