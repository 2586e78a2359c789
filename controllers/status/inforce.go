package status

import (
	"cmp"
	"slices"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
)

// Part is a SourceGroup or a Schedule in a ScheduleSet.
type Part struct {
	Name       string
	Generation int64
	// Serial of the first set that held the part as it is; 0 when that is not known.
	Serial int64
}

// Parts are those of one kind in a set: Groups or Schedules.
type Parts func(*v1alpha1.ScheduleSet) []Part

// Groups are the SourceGroups in a set.
func Groups(set *v1alpha1.ScheduleSet) []Part {
	parts := make([]Part, len(set.Spec.Groups))
	for i, g := range set.Spec.Groups {
		parts[i] = Part{g.Name, g.Generation, g.Serial}
	}
	return parts
}

// Schedules are the Schedules in a set.
func Schedules(set *v1alpha1.ScheduleSet) []Part {
	parts := make([]Part, len(set.Spec.Schedules))
	for i := range set.Spec.Schedules {
		s := &set.Spec.Schedules[i]
		parts[i] = Part{s.Name, s.Generation, s.Serial}
	}
	return parts
}

// InForce tells whether the machine of a set is known to have a part of it: it has the whole set, or one that held the part as this one does.
func InForce(set *v1alpha1.ScheduleSet, part Part) bool {
	applied := &set.Status
	if applied.AppliedRevision == set.Spec.Revision {
		return true
	}
	// A machine with a later serial has a set that is not known here: the cluster was restored from a backup.
	return part.Serial > 0 && part.Serial <= applied.AppliedSerial && applied.AppliedSerial <= set.Spec.Serial
}

// NotApplied names the hosts on whose machine the part with this name and generation is not in force.
func NotApplied(hosts []*v1alpha1.Host, sets []v1alpha1.ScheduleSet, parts Parts, name string, generation int64) []string {
	applied := map[string]bool{}
	for i := range sets {
		set := &sets[i]
		for _, part := range parts(set) {
			if part.Name == name && part.Generation == generation && InForce(set, part) {
				applied[set.Spec.Host.UID] = true
			}
		}
	}
	var names []string
	for _, host := range hosts {
		if !applied[string(host.UID)] {
			names = append(names, host.Name)
		}
	}
	return names
}

// Progress is what a change of a set means for a part.
type Progress struct {
	Name string
	// Behind says that the set has the part, and the machine does not yet.
	Behind bool
}

// Progressed are the parts for which NotApplied differs by a change of a set, sorted by name. Of a set that came there is no before, of one that went no after.
func Progressed(before, after *v1alpha1.ScheduleSet, parts Parts) []Progress {
	if before != nil && after != nil && before.Generation == after.Generation && before.Status.AppliedRevision == after.Status.AppliedRevision &&
		before.Status.AppliedSerial == after.Status.AppliedSerial {
		return nil // a connection, an offer or a refusal
	}
	was, is := looks(before, parts), looks(after, parts)
	var found []Progress
	for name, before := range was {
		if after, has := is[name]; after != before {
			found = append(found, Progress{name, has && !after.inForce})
		}
	}
	for name, after := range is {
		if _, known := was[name]; !known {
			found = append(found, Progress{name, !after.inForce})
		}
	}
	slices.SortFunc(found, func(a, b Progress) int { return cmp.Compare(a.Name, b.Name) })
	return found
}

// look is what NotApplied looks at of a part.
type look struct {
	hostUID    string
	generation int64
	inForce    bool
}

func looks(set *v1alpha1.ScheduleSet, parts Parts) map[string]look {
	if set == nil {
		return nil
	}
	all := parts(set)
	found := make(map[string]look, len(all))
	for _, part := range all {
		found[part.Name] = look{set.Spec.Host.UID, part.Generation, InForce(set, part)}
	}
	return found
}
