package restic

import (
	"context"
	"os"
	"testing"
)

// The cache of a check can have the size of the repository's whole index.
func TestAKilledCheckLeavesNoCacheBehind(t *testing.T) {
	runner := playScript(t, `case "$*" in *unlock*) exit 0;; esac
for word in "$@"; do
  case "$word" in --cache-dir=*) mkdir -p "${word#--cache-dir=}/restic-check-cache-1/index";; esac
done
kill -KILL $$`)
	if _, err := runner.Check(context.Background(), CheckOptions{Repository: fixtureRepository}, nil); KindOf(err) != KindKilled {
		t.Fatal(err)
	}
	for _, dir := range []string{runner.CacheDir, runner.TempDir} {
		if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
			t.Errorf("%s holds %v, %v", dir, left, err)
		}
	}
}
