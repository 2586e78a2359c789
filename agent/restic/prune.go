package restic

import (
	"context"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// PruneOptions describes one prune. It needs credentials that may delete: on an append-only server a prune uploads repacked data and fails only then, so never begin it without.
type PruneOptions struct {
	Repository Repository
	// MaxUnused is how much unused data may stay: a percentage ("5%"), a size ("10M") or "unlimited". Empty: restic's default (5%).
	MaxUnused string
	// MaxRepackSize bounds the data that is rewritten: a size. Empty: no bound.
	MaxRepackSize string
	Limits        Limits
}

// PruneResult is what a prune did, as far as restic says it: its figures are rounded to four digits or so. It is also filled, as far as known, beside an error.
type PruneResult struct {
	// BytesFreed were removed, or were to be when there is an error; BytesRemaining are left, BytesUnused of them without use.
	BytesFreed, BytesRemaining, BytesUnused uint64
	Message                                 string
	Duration                                time.Duration
	ExitCode                                int
}

var (
	maxUnusedPattern = regexp.MustCompile(`^([0-9]{1,3}(\.[0-9]+)?%|[0-9]+[kKmMgGtT]?|unlimited)$`)
	// pruneFigure matches "total prune:           4 blobs / 2.524 KiB" and "unused size after prune: 0 B (0.00% of remaining size)".
	pruneFigure = regexp.MustCompile(`^(total prune|remaining|unused size after prune):\s+(?:[0-9]+ blobs / )?([0-9.]+ [KMGTPE]?i?B)\b`)
	// counterText is a progress line: "[0:12] 45.00%  9 / 20 packs processed".
	counterText = regexp.MustCompile(`^\[[0-9:]+\] +([0-9.]+)% +([0-9]+) / ([0-9]+) `)
)

// Prune frees the space of what no snapshot needs. It prints text and no JSON in every version; its lines go to the observer, and its counters become Progress (of one phase after
// the other).
func (r *Runner) Prune(ctx context.Context, options PruneOptions, observer Observer) (PruneResult, error) {
	result := PruneResult{ExitCode: -1}
	if err := options.check(); err != nil {
		return result, err
	}
	args := []string{"prune"}
	if options.MaxUnused != "" {
		args = append(args, "--max-unused="+options.MaxUnused)
	}
	if options.MaxRepackSize != "" {
		args = append(args, "--max-repack-size="+options.MaxRepackSize)
	}
	began := time.Now()
	o, err := r.run(ctx, invocation{
		command: "prune", args: args, repository: options.Repository, limits: options.Limits, observer: observer, locks: true,
		output:  result.read,
		counter: true,
	})
	if err != nil {
		return result, err
	}
	result.ExitCode, result.Duration = o.exitCode, time.Since(began)
	if o.exitCode == 0 && o.stopped == notStopped {
		result.Message = "freed " + sizeText(result.BytesFreed) + ", " + sizeText(result.BytesRemaining) + " remain"
		return result, nil
	}
	failure := o.failure("prune", options.Repository.URL)
	if failure.Kind == KindUnauthorized {
		failure.Message += "; an append-only server lets nobody prune without admin credentials"
	}
	return result, failure
}

// read takes the figures out of a line of output.
func (p *PruneResult) read(line string) bool {
	m := pruneFigure.FindStringSubmatch(line)
	if m == nil {
		return true
	}
	bytes, ok := parseSize(m[2])
	if !ok {
		return true
	}
	switch m[1] {
	case "total prune":
		p.BytesFreed = bytes
	case "remaining":
		p.BytesRemaining = bytes
	case "unused size after prune":
		p.BytesUnused = bytes
	}
	return true
}

func (o PruneOptions) check() error {
	if o.MaxUnused != "" && !maxUnusedPattern.MatchString(o.MaxUnused) {
		return invalid("maxUnused %q is neither a percentage, a size nor unlimited", o.MaxUnused)
	}
	if o.MaxRepackSize != "" && !sizePattern.MatchString(o.MaxRepackSize) {
		return invalid("maxRepackSize %q is not a size; write a number with an optional k, M, G or T", o.MaxRepackSize)
	}
	return o.Limits.check()
}

var sizeUnits = []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}

// parseSize reads restic's "57.226 MiB".
func parseSize(text string) (uint64, bool) {
	number, unit, _ := strings.Cut(text, " ")
	value, err := strconv.ParseFloat(number, 64)
	if err != nil || value < 0 {
		return 0, false
	}
	for i, u := range sizeUnits {
		if u == unit {
			return uint64(math.Round(value * math.Pow(1024, float64(i)))), true
		}
	}
	return 0, false
}

func sizeText(bytes uint64) string {
	value, unit := float64(bytes), 0
	for value >= 1024 && unit < len(sizeUnits)-1 {
		value, unit = value/1024, unit+1
	}
	if unit == 0 {
		return strconv.FormatUint(bytes, 10) + " B"
	}
	return strconv.FormatFloat(value, 'f', 1, 64) + " " + sizeUnits[unit]
}
