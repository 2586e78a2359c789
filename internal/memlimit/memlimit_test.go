package memlimit

import "testing"

func TestLimitOf(t *testing.T) {
	for _, test := range []struct {
		name, own, container string
		want                 int64
	}{
		{"nothing is said", "", "", 0},
		{"nine tenths of the container's", "", "536870912", 483183819},
		{"the runtime's own counts", "400MiB", "536870912", 0},
		{"nonsense", "", "512Mi", 0},
		{"nothing at all", "", "0", 0},
	} {
		if got := limitOf(test.own, test.container); got != test.want {
			t.Errorf("%s: %d, want %d", test.name, got, test.want)
		}
	}
}
