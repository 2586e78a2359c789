package schedule

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/restic-manager/restic-manager/api/cronspec"
	"github.com/restic-manager/restic-manager/api/v1alpha1"
)

// setFireTimes moves the fire on record to lastFireTime once it has passed, and looks for the next one, if there is a host to fire on. It
// reads the status as it was written last.
func setFireTimes(schedule *v1alpha1.Schedule, fires bool, now time.Time) {
	spec, err := cronspec.Parse(schedule.Spec.Cron, schedule.Spec.TimeZone)
	recorded := schedule.Status.NextFireTime
	if recorded != nil && !recorded.After(now) {
		schedule.Status.LastFireTime = recorded
		// The controllers may have been away for more than one fire, but of another expression nothing is known.
		same := schedule.Status.ObservedGeneration == schedule.Generation
		if last, ok := prev(spec, err, now); ok && same && last.After(recorded.Time) {
			schedule.Status.LastFireTime = new(metav1.NewTime(last))
		}
	}
	schedule.Status.NextFireTime = nil
	if err != nil || schedule.Spec.Suspend || !fires {
		return
	}
	if fire, ok := spec.Next(now); ok {
		schedule.Status.NextFireTime = new(metav1.NewTime(fire.At.UTC()))
	}
}

func prev(spec *cronspec.Spec, err error, now time.Time) (time.Time, bool) {
	if err != nil {
		return time.Time{}, false
	}
	fire, ok := spec.Prev(now)
	return fire.At.UTC(), ok
}
