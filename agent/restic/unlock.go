package restic

import (
	"context"
	"regexp"
	"strconv"
)

// unlockedText is all that `unlock` says; 0.19 says it only without --json.
var unlockedText = regexp.MustCompile(`^successfully removed ([0-9]+) locks?$`)

// Unlock removes stale locks only: those of dead processes of this machine, and those not refreshed for half an hour. It returns how many these were.
func (r *Runner) Unlock(ctx context.Context, repository Repository, observer Observer) (int, error) {
	removed := 0
	o, err := r.run(ctx, invocation{command: "unlock", args: []string{"unlock"}, repository: repository, observer: observer, text: true, silent: true,
		output: func(line string) bool {
			if m := unlockedText.FindStringSubmatch(line); m != nil {
				removed, _ = strconv.Atoi(m[1])
			}
			return true
		}})
	if err != nil {
		return 0, err
	}
	if o.exitCode == 0 && o.stopped == notStopped {
		return removed, nil
	}
	return removed, o.failure("unlock", repository.URL)
}
