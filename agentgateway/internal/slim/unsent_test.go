package slim

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
)

// waiting is a set that its machine does not have.
func waiting(name, version string) *v1alpha1.ScheduleSet {
	s := set(name)
	s.ResourceVersion, s.Status.AppliedRevision = version, "r0"
	return s
}

// arrives takes a set into the cache and returns it as the cache has it.
func arrives(t *testing.T, o *Objects, s *v1alpha1.ScheduleSet) *v1alpha1.ScheduleSet {
	t.Helper()
	cached, err := o.Set(s.DeepCopy())
	if err != nil {
		t.Fatal(err)
	}
	return cached.(*v1alpha1.ScheduleSet)
}

func TestWhatAMachineDoesNotHaveIsThereInFull(t *testing.T) {
	objects := &Objects{}
	full := waiting("web-1", "7")
	cached := arrives(t, objects, full)
	whole := objects.Whole(cached)
	if whole == nil {
		t.Fatal("it is not")
	}
	if diff := cmp.Diff(full.Spec, whole.Spec); diff != "" {
		t.Error(diff)
	}
	if again := arrives(t, objects, cached); objects.Whole(again) == nil {
		t.Error("what is slim already made it go")
	}
	newer := arrives(t, objects, waiting("web-1", "8"))
	if objects.Whole(cached) != nil || objects.Whole(newer) == nil {
		t.Error("a version is taken for another one")
	}
	applied := waiting("web-1", "9")
	applied.Status.AppliedRevision = applied.Spec.Revision
	if objects.Whole(arrives(t, objects, applied)) != nil || objects.Whole(newer) != nil {
		t.Error("it is still there when its machine has it")
	}
	if u := &objects.unsent; len(u.sets) != 0 || u.bytes != 0 || len(u.order) != 0 {
		t.Errorf("left are %d sets, %d bytes and %d names", len(u.sets), u.bytes, len(u.order))
	}
}

func TestNoMoreIsKeptInFullThanThereIsRoom(t *testing.T) {
	for _, test := range []struct {
		test           string
		hosts, bundle  int
		oldest, newest bool
		most           int
	}{
		{"few", maxUnsent, 100, true, true, maxUnsent},
		{"many", 3 * maxUnsent, 100, false, true, maxUnsent},
		{"large ones", 10, maxUnsentBytes / 4, false, true, 4},
		{"one that is too large", 1, maxUnsentBytes + 1, false, false, 0},
	} {
		t.Run(test.test, func(t *testing.T) {
			objects := &Objects{}
			var cached []*v1alpha1.ScheduleSet
			for version := range 3 { // each comes again and again
				cached = nil
				for i := range test.hosts {
					s := waiting(fmt.Sprint("web-", i), fmt.Sprint(version, "-", i))
					s.Spec.Bundle = strings.Repeat("b", test.bundle)
					cached = append(cached, arrives(t, objects, s))
				}
			}
			if got := objects.Whole(cached[0]) != nil; got != test.oldest {
				t.Errorf("the oldest is there: %v", got)
			}
			if got := objects.Whole(cached[len(cached)-1]) != nil; got != test.newest {
				t.Errorf("the newest is there: %v", got)
			}
			bytes := 0
			for _, s := range objects.unsent.sets {
				bytes += size(s)
			}
			if u := &objects.unsent; len(u.sets) > test.most || bytes != u.bytes || bytes > maxUnsentBytes || len(u.order) > 2*maxUnsent {
				t.Errorf("%d sets of %d bytes, counted as %d, %d names", len(u.sets), bytes, u.bytes, len(u.order))
			}
		})
	}
}
