package restic

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"time"
)

// Retention says which snapshots a forget keeps; each rule keeps by itself. Zero counts, empty durations and an empty list are absent rules.
type Retention struct {
	KeepLast    int
	KeepHourly  int
	KeepDaily   int
	KeepWeekly  int
	KeepMonthly int
	KeepYearly  int
	// Durations as restic writes them: 1y6m14d12h. They count back from the newest snapshot, and unlike counts they ignore snapshots dated in the future.
	KeepWithin        string
	KeepWithinHourly  string
	KeepWithinDaily   string
	KeepWithinWeekly  string
	KeepWithinMonthly string
	KeepWithinYearly  string
	// KeepTags keeps snapshots that have one of these tags.
	KeepTags []string
}

// ForgetOptions describes the forgetting of one host's snapshots with one tag. Snapshots of other hosts or tags are never touched, and no data is freed: see Prune.
type ForgetOptions struct {
	Repository Repository
	// Host and Tag of the snapshots. Required; no comma in the tag.
	Host, Tag string
	// Keep must have a rule.
	Keep   Retention
	Limits Limits
}

// ForgetResult is what a forget did, told from all of its output. It is also filled, as far as known, beside an error.
type ForgetResult struct {
	// Kept, Removed and Refused count snapshots. Refused are those that were to go and that the repository did not let go; they are not in Removed.
	Kept, Removed, Refused int
	// Message says it in one line.
	Message  string
	Duration time.Duration
	ExitCode int
}

// notRemoved is on stderr, for a snapshot that stdout lists as removed all the same.
var notRemoved = regexp.MustCompile(`^unable to remove snapshot/([0-9a-f]+)`)

// Forget removes the snapshots of a host and tag that no rule keeps. When the repository refused to remove any, the error is of KindForgetRefused and the result says how many.
// No snapshot at all is success.
func (r *Runner) Forget(ctx context.Context, options ForgetOptions, observer Observer) (ForgetResult, error) {
	if err := options.check(); err != nil {
		return ForgetResult{ExitCode: -1}, err
	}
	for tries := 1; ; tries++ {
		result, err := r.forgetOnce(ctx, options, observer)
		if !errors.Is(err, ErrCrashed) || tries == maxForgets {
			return result, err
		}
		r.logger().Warn("restic broke down; forget runs again", "error", err)
	}
}

// maxForgets is how often a forget is run that breaks down. restic (0.19.1) does so now and then when a server refuses several removals at once, before it has
// said what it chose: it notes them in a map without a lock.
const maxForgets = 4

func (r *Runner) forgetOnce(ctx context.Context, options ForgetOptions, observer Observer) (ForgetResult, error) {
	result := ForgetResult{ExitCode: -1}
	var chosen forgetOutput
	var badOutput error
	refused := map[string]bool{}
	began := time.Now()
	o, err := r.run(ctx, invocation{
		command: "forget", args: forgetArgs(options), repository: options.Repository, limits: options.Limits, observer: observer, locks: true,
		stdout: func(out io.Reader) error {
			chosen, badOutput = readForget(out)
			return badOutput
		},
		plain: func(line string) {
			if m := notRemoved.FindStringSubmatch(line); m != nil {
				refused[m[1]] = true
			}
		},
	})
	if err != nil {
		return result, err
	}
	result.ExitCode, result.Duration = o.exitCode, time.Since(began)
	result.Kept, result.Refused = chosen.kept, len(refused)
	result.Removed = max(chosen.removed-len(refused), 0)
	result.Message = fmt.Sprintf("%d snapshots kept, %d removed", result.Kept, result.Removed)
	return result.judge(o, badOutput, options.Repository.URL)
}

// judge decides, from everything together, how the forget went.
func (f ForgetResult) judge(o outcome, badOutput error, url string) (ForgetResult, error) {
	switch {
	case o.stopped != notStopped, o.crash != "":
		return f, o.failure("forget", url)
	case f.Refused > 0:
		f.Message += fmt.Sprintf(", %d not removed", f.Refused)
		failure := o.failure("forget", url)
		switch failure.Kind {
		case KindUnreachable, KindTLS:
			return f, failure // the connection broke down in the middle
		}
		failure.Kind = KindForgetRefused
		failure.Message = fmt.Sprintf("the repository at %s refused to remove %s; it is append-only for these credentials, so give this host admin credentials", RedactURL(url), countSnapshots(f.Refused))
		if reason := o.show(o.gaveUp); reason != "" {
			failure.Message += " (" + reason + ")"
		}
		return f, failure
	case o.exitCode != 0, badOutput != nil:
		return f, o.failure("forget", url)
	}
	return f, nil
}

func forgetArgs(o ForgetOptions) []string {
	// One group, whatever paths its snapshots have: by default restic would never let go of those of earlier paths.
	args := []string{"forget", "--host=" + o.Host, "--tag=" + o.Tag, "--group-by=host"}
	for _, rule := range o.Keep.counts() {
		if rule.value > 0 {
			args = append(args, "--keep-"+rule.name+"="+strconv.Itoa(rule.value))
		}
	}
	for _, rule := range o.Keep.durations() {
		if rule.value != "" {
			args = append(args, "--keep-"+rule.name+"="+rule.value)
		}
	}
	return appendEach(args, "--keep-tag=", o.Keep.KeepTags)
}

type rule[V any] struct {
	name  string
	value V
}

func (k Retention) counts() []rule[int] {
	return []rule[int]{{"last", k.KeepLast}, {"hourly", k.KeepHourly}, {"daily", k.KeepDaily}, {"weekly", k.KeepWeekly}, {"monthly", k.KeepMonthly}, {"yearly", k.KeepYearly}}
}

func (k Retention) durations() []rule[string] {
	return []rule[string]{{"within", k.KeepWithin}, {"within-hourly", k.KeepWithinHourly}, {"within-daily", k.KeepWithinDaily},
		{"within-weekly", k.KeepWithinWeekly}, {"within-monthly", k.KeepWithinMonthly}, {"within-yearly", k.KeepWithinYearly}}
}

// keepDuration has no sign: a negative one keeps nothing.
var keepDuration = regexp.MustCompile(`^([0-9]{1,6}[yYmMdDhH])+$`)

// check refuses what restic would take for more than was meant: no host is every host, no tag is "untagged", a comma in a tag asks for two.
func (o ForgetOptions) check() error {
	if err := checkText("the host", o.Host); err != nil {
		return err
	}
	if err := checkName("tag", o.Tag); err != nil {
		return err
	}
	rules := len(o.Keep.KeepTags)
	for _, rule := range o.Keep.counts() {
		if rule.value < 0 {
			return invalid("the retention rule keep-%s is negative", rule.name)
		}
		if rule.value > 0 {
			rules++
		}
	}
	for _, rule := range o.Keep.durations() {
		if rule.value == "" {
			continue
		}
		if !keepDuration.MatchString(rule.value) {
			return invalid("the retention rule keep-%s=%q is no duration; write for instance 14d or 1y6m", rule.name, rule.value)
		}
		rules++
	}
	for _, tag := range o.Keep.KeepTags {
		if err := checkName("tag to keep", tag); err != nil {
			return err
		}
	}
	if rules == 0 {
		return invalid("the retention has no rule, and would keep nothing; add at least one")
	}
	return o.Limits.check()
}

type forgetOutput struct{ kept, removed int }

// readForget counts the snapshots in restic's one long JSON array, piece by piece; it is empty when no snapshot matched.
func readForget(r io.Reader) (forgetOutput, error) {
	var out forgetOutput
	decoder := json.NewDecoder(bufio.NewReader(r))
	if _, err := decoder.Token(); errors.Is(err, io.EOF) {
		return out, nil
	} else if err != nil {
		return out, err
	}
	for decoder.More() {
		if _, err := decoder.Token(); err != nil { // {
			return out, err
		}
		for decoder.More() {
			key, err := decoder.Token()
			if err != nil {
				return out, err
			}
			n, err := countItems(decoder)
			if err != nil {
				return out, err
			}
			switch key {
			case "keep":
				out.kept += n
			case "remove":
				out.removed += n
			}
		}
		if _, err := decoder.Token(); err != nil { // }
			return out, err
		}
	}
	_, err := decoder.Token() // ]
	return out, err
}

// countItems reads one value; of a list it returns the length.
func countItems(decoder *json.Decoder) (int, error) {
	first, err := decoder.Token()
	switch first {
	case json.Delim('['):
	case json.Delim('{'):
		return 0, errors.New("there is an object where a list or a plain value was")
	default:
		return 0, err
	}
	n := 0
	for ; decoder.More(); n++ {
		var skipped json.RawMessage
		if err := decoder.Decode(&skipped); err != nil {
			return n, err
		}
	}
	_, err = decoder.Token()
	return n, err
}

func countSnapshots(n int) string {
	if n == 1 {
		return "1 snapshot"
	}
	return fmt.Sprintf("%d snapshots", n)
}
