package restic

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// CheckOptions describes one check.
type CheckOptions struct {
	Repository Repository
	// ReadDataSubset is what is read and verified beside the structure: a percentage ("5%"), a size ("50M") or a part ("3/12", 12 at most 256). Empty: no data is read, and
	// a flipped bit in a file's content is not found.
	ReadDataSubset string
	Limits         Limits
}

// CheckResult is what a check found. It is also filled, as far as known, beside an error.
type CheckResult struct {
	// Errors that restic counted. It counts one where it could not check at all, and some when it was stopped: look at the error first.
	Errors int
	// Problems are the first MaxNamed messages, one line each.
	Problems []string
	// BrokenPacks are ids for `restic repair packs`, at most MaxNamed.
	BrokenPacks []string
	// SuggestRepairIndex and SuggestPrune are hints about what is not harmful.
	SuggestRepairIndex, SuggestPrune bool
	Message                          string
	Duration                         time.Duration
	ExitCode                         int
}

var (
	subsetPattern = regexp.MustCompile(`^([0-9]{1,3}(\.[0-9]+)?%|[0-9]+[kKmMgGtT]|([0-9]{1,3})/([0-9]{1,3}))$`)
	// repairAdvice tells restic's advice apart from what it found.
	repairAdvice = regexp.MustCompile(`^(The repository (contains damaged pack files|is damaged and must be repaired|index is damaged and must be repaired)|restic repair |Damaged pack files can be caused by|` +
		`Duplicate packs are non-critical|Mixed packs with tree|error for tree [0-9a-f]+:$)`)
	// damageText is the last word of a restic that could not even begin, since what it reads first is damaged.
	damageText = regexp.MustCompile(`ciphertext verification failed|invalid data returned|config or key [0-9a-f]* ?is damaged|hash mismatch|repository contains errors`)
)

// Check tests the repository. Damage is an error of KindDamaged; a repository that cannot be reached, opened or locked has the kind that says so. It locks the repository exclusively,
// so nothing else can be done in it meanwhile.
func (r *Runner) Check(ctx context.Context, options CheckOptions, observer Observer) (CheckResult, error) {
	result := CheckResult{ExitCode: -1}
	if err := options.check(); err != nil {
		return result, err
	}
	args := []string{"check"}
	if options.ReadDataSubset != "" {
		args = append(args, "--read-data-subset="+options.ReadDataSubset)
	}
	redact := newRedactor(options.Repository.Environment)
	found := problems{}
	summary := false
	began := time.Now()
	o, err := r.run(ctx, invocation{
		command: "check", args: args, repository: options.Repository, limits: options.Limits, observer: observer, locks: true, ownCache: true,
		message: func(m message) {
			if m.Type == "summary" {
				summary = true
				result.Errors, result.SuggestRepairIndex, result.SuggestPrune = m.NumErrors, m.SuggestRepairIndex, m.SuggestPrune
				result.BrokenPacks = m.BrokenPacks[:min(len(m.BrokenPacks), MaxNamed)]
			}
		},
		plain: func(line string) { found.add(line, shorten(redact.text(line))) },
	})
	if err != nil {
		return result, err
	}
	result.ExitCode, result.Duration = o.exitCode, time.Since(began)
	return result.judge(o, summary, found, options.Repository.URL)
}

// problems are the messages of a check: those about the repository's content, and those about the way to it.
type problems struct {
	content, way []string
	contentCount int
	wayKind      Kind
}

func (p *problems) add(raw, shown string) {
	if repairAdvice.MatchString(raw) {
		return
	}
	switch kind := kindOfText(raw); kind {
	case KindUnreachable, KindTLS, KindUnauthorized, KindNoSpace:
		p.wayKind = kind
		if len(p.way) < MaxNamed {
			p.way = append(p.way, shown)
		}
	default:
		p.contentCount++
		if len(p.content) < MaxNamed {
			p.content = append(p.content, shown)
		}
	}
}

// judge decides, from everything together, what the check found.
func (c CheckResult) judge(o outcome, summary bool, found problems, url string) (CheckResult, error) {
	c.Problems = append(found.content, found.way...)
	c.Problems = c.Problems[:min(len(c.Problems), MaxNamed)]
	switch {
	case o.stopped == notStopped && o.exitCode == 0 && summary && c.Errors == 0:
		c.Message = "no errors were found"
		if c.SuggestPrune {
			c.Message += "; a prune would tidy up"
		}
		if c.SuggestRepairIndex {
			c.Message += "; restic suggests `restic repair index`"
		}
		return c, nil
	case o.stopped == notStopped && o.exitCode == 0:
		return c, &Error{Kind: KindFailed, Command: "check", ExitCode: 0, Output: o.stderr,
			Message: "restic ended well without a summary, so nobody can tell what it checked; look at the log"}
	}
	failure := o.failure("check", url)
	if failure.Kind != KindFailed || !damageText.MatchString(o.exitMessage) {
		return c, failure
	}
	if found.contentCount == 0 && len(found.way) > 0 {
		failure.Kind, failure.Message = found.wayKind, advice(found.wayKind, found.way[0], RedactURL(url))
		return c, failure
	}
	first := failure.Message
	if len(c.Problems) > 0 {
		first = strings.Join(c.Problems[:min(3, len(c.Problems))], "; ")
		if found.contentCount > 3 {
			first += fmt.Sprintf("; and %d more", found.contentCount-3)
		}
	}
	failure.Kind = KindDamaged
	failure.Message = shorten(fmt.Sprintf("the repository at %s is damaged (%s); leave forget and prune alone, and repair it as restic's troubleshooting guide says", RedactURL(url), first))
	c.Message = failure.Message
	return c, failure
}

func (o CheckOptions) check() error {
	if o.ReadDataSubset != "" {
		m := subsetPattern.FindStringSubmatch(o.ReadDataSubset)
		if m == nil {
			return invalid("readDataSubset %q is neither a percentage, a size nor n/t", o.ReadDataSubset)
		}
		if m[4] != "" {
			part, _ := strconv.Atoi(m[3])
			of, _ := strconv.Atoi(m[4])
			if part < 1 || part > of || of > 256 {
				return invalid("readDataSubset %q is no part of a whole; write n/t with n from 1 to t, and t at most 256", o.ReadDataSubset)
			}
		}
	}
	return o.Limits.check()
}
