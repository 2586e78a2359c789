package cronspec_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/restic-manager/restic-manager/api/cronspec"
)

func TestJitterIsStableAndEvenlySpread(t *testing.T) {
	const window, hosts = 45 * time.Minute, 9000
	slots := make([]int, 9) // of five minutes
	for i := range hosts {
		key := cronspec.JitterKey("shop", fmt.Sprintf("web-%d", i), "nightly")
		d := cronspec.Jitter(key, window)
		if d < 0 || d >= window {
			t.Fatalf("%q: %v is outside of %v", key, d, window)
		}
		if again := cronspec.Jitter(key, window); again != d {
			t.Fatalf("%q: %v, then %v", key, d, again)
		}
		slots[d/(5*time.Minute)]++
	}
	for i, n := range slots {
		if n < 850 || n > 1150 {
			t.Errorf("slot %d holds %d of %d hosts, want about 1000: %v", i, n, hosts, slots)
		}
	}
	if d := cronspec.Jitter("x", 0); d != 0 {
		t.Errorf("no window gives %v", d)
	}
}
