package status

import (
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/types"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
)

// published is a set of serial 30: its group etc has been the same since 10, home since 20, and its schedule since 30.
func published(change func(*v1alpha1.ScheduleSet)) *v1alpha1.ScheduleSet {
	set := &v1alpha1.ScheduleSet{}
	set.Spec.Host.UID, set.Spec.Revision, set.Spec.Serial = "uid-web-1", "third", 30
	set.Spec.Groups = []v1alpha1.ScheduleSetGroup{{Name: "etc", Generation: 1, Serial: 10}, {Name: "home", Generation: 2, Serial: 20}}
	set.Spec.Schedules = []v1alpha1.ScheduleSetSchedule{{Name: "nightly", Generation: 3, Serial: 30}}
	if change != nil {
		change(set)
	}
	return set
}

func applied(revision string, serial int64) func(*v1alpha1.ScheduleSet) {
	return func(set *v1alpha1.ScheduleSet) {
		set.Status.AppliedRevision, set.Status.AppliedSerial = revision, serial
	}
}

func TestWhatIsInForceOnAMachine(t *testing.T) {
	for _, test := range []struct {
		test   string
		change func(*v1alpha1.ScheduleSet)
		want   []string
	}{
		{"nothing was applied", nil, nil},
		{"all of it was", applied("third", 30), []string{"etc", "home", "nightly"}},
		{"the whole set counts without serials", func(set *v1alpha1.ScheduleSet) {
			applied("third", 0)(set)
			set.Spec.Groups[0].Serial = 0
		}, []string{"etc", "home", "nightly"}},
		{"an earlier set that held one group as it is", applied("first", 15), []string{"etc"}},
		{"the set just before", applied("second", 20), []string{"etc", "home"}},
		{"what has no serial waits for the whole set", func(set *v1alpha1.ScheduleSet) {
			applied("second", 20)(set)
			set.Spec.Groups[0].Serial = 0
		}, []string{"home"}},
		{"a set from a cluster that is no more", applied("lost", 31), nil},
	} {
		t.Run(test.test, func(t *testing.T) {
			set := published(test.change)
			var got []string
			for _, part := range append(Groups(set), Schedules(set)...) {
				if InForce(set, part) {
					got = append(got, part.Name)
				}
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("in force: %q, want %q", got, test.want)
			}
		})
	}
}

func TestWhereAPartIsNotApplied(t *testing.T) {
	named := func(name string) *v1alpha1.Host {
		host := &v1alpha1.Host{}
		host.Name, host.UID = name, types.UID("uid-"+name)
		return host
	}
	hosts := []*v1alpha1.Host{named("web-1"), named("web-2"), named("web-3")}
	sets := []v1alpha1.ScheduleSet{
		*published(applied("second", 20)),
		*published(func(set *v1alpha1.ScheduleSet) { set.Spec.Host.UID = "uid-web-2" }),
		*published(func(set *v1alpha1.ScheduleSet) {
			set.Spec.Host.UID = "of an earlier Host"
			applied("third", 30)(set)
		}),
	}
	for _, test := range []struct {
		parts      Parts
		name       string
		generation int64
		want       []string
	}{
		{Groups, "home", 2, []string{"web-2", "web-3"}},
		{Groups, "home", 3, []string{"web-1", "web-2", "web-3"}},
		{Groups, "nightly", 3, []string{"web-1", "web-2", "web-3"}},
		{Schedules, "nightly", 3, []string{"web-1", "web-2", "web-3"}},
	} {
		if got := NotApplied(hosts, sets, test.parts, test.name, test.generation); !slices.Equal(got, test.want) {
			t.Errorf("%s of generation %d is not applied on %q, want %q", test.name, test.generation, got, test.want)
		}
	}
}

func TestWhichPartsAChangeOfASetConcerns(t *testing.T) {
	for _, test := range []struct {
		test          string
		before, after *v1alpha1.ScheduleSet
		want          []string // with a question mark, that its machine is waited for
	}{
		{"a set has come", nil, published(nil), []string{"etc?", "home?"}},
		{"a set has come that the machine has", nil, published(applied("third", 30)), []string{"etc", "home"}},
		{"a set has gone", published(nil), nil, []string{"etc", "home"}},
		{"nothing that matters has changed", published(nil), published(nil), nil},
		{"a session began", published(applied("second", 20)), published(func(set *v1alpha1.ScheduleSet) {
			applied("second", 20)(set)
			set.Status.Connection = &v1alpha1.Connection{Session: 7}
		}), nil},
		{"the machine has one group of it now", published(nil), published(applied("first", 15)), []string{"etc"}},
		{"the machine has it", published(applied("first", 15)), published(applied("third", 30)), []string{"home"}},
		{"a group has another generation", published(applied("third", 30)), published(func(set *v1alpha1.ScheduleSet) {
			applied("third", 30)(set)
			set.Spec.Groups[0] = v1alpha1.ScheduleSetGroup{Name: "etc", Generation: 2, Serial: 40}
			set.Spec.Revision, set.Spec.Serial = "fourth", 40
		}), []string{"etc?"}},
		{"a group has another generation, and the machine what it says", published(applied("third", 30)), published(func(set *v1alpha1.ScheduleSet) {
			applied("third", 30)(set)
			set.Spec.Groups[0].Generation++
		}), []string{"etc"}},
		{"a group is in it no more, and another is", published(nil), published(func(set *v1alpha1.ScheduleSet) { set.Spec.Groups[1].Name = "srv" }), []string{"home", "srv?"}},
		{"it is of another Host", published(nil), published(func(set *v1alpha1.ScheduleSet) { set.Spec.Host.UID = "another" }), []string{"etc?", "home?"}},
	} {
		t.Run(test.test, func(t *testing.T) {
			if test.after != nil {
				test.after.Generation++ // a change of the status alone is not told otherwise
			}
			var got []string
			for _, part := range Progressed(test.before, test.after, Groups) {
				if part.Behind {
					part.Name += "?"
				}
				got = append(got, part.Name)
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("concerns %q, want %q", got, test.want)
			}
		})
	}
}
