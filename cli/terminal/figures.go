package terminal

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"
)

// Nothing stands for what is not known.
const Nothing = "-"

// Bytes is a size as restic shows it.
func Bytes(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	value, i := float64(n)/unit, 0
	for value >= unit && i < len("KMGTPE")-1 {
		value, i = value/unit, i+1
	}
	return fmt.Sprintf("%.1f %ciB", value, "KMGTPE"[i])
}

// Ago is how long ago something was, as kubectl shows ages.
func Ago(t, now time.Time) string {
	if t.IsZero() {
		return Nothing
	}
	return duration.HumanDuration(max(0, now.Sub(t)))
}

// AgoOf is Ago for what may not be known.
func AgoOf(t *metav1.Time, now time.Time) string {
	if t == nil {
		return Nothing
	}
	return Ago(t.Time, now)
}

// In is how far ahead something lies.
func In(t *metav1.Time, now time.Time) string {
	switch {
	case t == nil:
		return Nothing
	case !t.After(now):
		return "now"
	}
	return "in " + duration.HumanDuration(t.Sub(now))
}

// Count is a number with its noun.
func Count(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
