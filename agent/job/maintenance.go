package job

import (
	"errors"
	"fmt"
	"slices"

	"github.com/restic-manager/restic-manager/agent/drill"
	"github.com/restic-manager/restic-manager/agent/restic"
	"github.com/restic-manager/restic-manager/api/wire"
)

// maxGroupError bounds what is said about one group: there may be a hundred of them in a report.
const maxGroupError = 512

// forgetting is a forget over all of its attempts: a group that is done is not run again.
type forgetting struct {
	groups []wire.ForgetGroupResult
	// done says of each group that it needs no further attempt; errors holds how each failed.
	done   []bool
	errors []error
}

// forget runs group after group. One group's failure does not stop the others, unless it is about the repository, where they would fail like it.
func (w *work) forget() error {
	f := &w.forgetting
	if f.groups == nil {
		f.groups, f.done, f.errors = make([]wire.ForgetGroupResult, len(w.job.Forget.Groups)), make([]bool, len(w.job.Forget.Groups)), make([]error, len(w.job.Forget.Groups))
		for i, g := range w.job.Forget.Groups {
			f.groups[i] = wire.ForgetGroupResult{Name: g.Name, Host: g.Host}
		}
	}
	for i := range w.job.Forget.Groups {
		if f.done[i] {
			continue
		}
		err := w.forgetGroup(i)
		if err == nil || !aboutRepository(err) {
			f.done[i] = true
			continue
		}
		// The groups that come after it were not run.
		for rest := i; rest < len(f.groups); rest++ {
			if !f.done[rest] {
				f.errors[rest], f.groups[rest].Error = err, cutTo(maxGroupError, messageOf(err))
			}
		}
		break
	}
	w.result.forget(f)
	return f.failure()
}

func (w *work) forgetGroup(i int) error {
	g, result := w.job.Forget.Groups[i], &w.forgetting.groups[i]
	w.watch.note("forget %s of %s", g.Name, g.Host)
	err := w.healed(func(r runner) error {
		done, err := r.Forget(w.ctx, restic.ForgetOptions{Repository: w.repository, Host: g.ResticHost, Tag: g.Tag, Keep: restic.Retention(g.Retention), Limits: w.limits()}, w.watch)
		result.Kept, result.Removed, result.Refused = int64(done.Kept), int64(done.Removed), int64(done.Refused)
		w.result.ExitCode = done.ExitCode
		return err
	})
	w.forgetting.errors[i], result.Error = err, ""
	if err != nil {
		result.Error = cutTo(maxGroupError, messageOf(err))
	}
	return err
}

// aboutRepository says that whatever else is tried there fails in the same way, or is not to be tried.
func aboutRepository(err error) bool {
	switch restic.KindOf(err) {
	case restic.KindLocked, restic.KindUnreachable, restic.KindWrongPassword, restic.KindUnauthorized, restic.KindTLS, restic.KindNoRepository, restic.KindHalfInitialised,
		restic.KindCancelled, restic.KindDeadlineExceeded, restic.KindNotStarted:
		return true
	}
	return false
}

// failure is that of the whole forget: nil when all went well; when only some did, the job completed with errors.
func (f *forgetting) failure() error {
	failed := 0
	var first error
	for _, err := range f.errors {
		if err == nil {
			continue
		}
		failed++
		if first == nil || weight(err) > weight(first) {
			first = err
		}
	}
	if failed == 0 {
		return nil
	}
	v := &judged{outcome: wire.OutcomeFailed, reason: reasonOf(restic.KindOf(first)), message: messageOf(first), cause: first}
	if len(f.groups) > 1 {
		v.message = fmt.Sprintf("%d of %d groups failed: %s", failed, len(f.groups), v.message)
	}
	if failed < len(f.groups) {
		v.outcome = wire.OutcomeCompletedWithErrors
	}
	return v
}

// weight says which of several failures stands for the job: what another attempt may heal, then what a person has to see to.
func weight(err error) int {
	switch {
	case transient(err):
		return 2
	case errors.Is(err, restic.ErrForgetRefused):
		return 1
	}
	return 0
}

func (r *result) forget(f *forgetting) {
	summary := &wire.ForgetSummary{}
	for _, g := range f.groups {
		summary.Kept += g.Kept
		summary.Removed += g.Removed
		summary.Refused += g.Refused
	}
	summary.Groups = slices.Clone(f.groups)
	slices.SortStableFunc(summary.Groups, func(a, b wire.ForgetGroupResult) int { return rank(a) - rank(b) })
	summary.Groups = summary.Groups[:min(len(summary.Groups), wire.MaxForgetResults)]
	r.Forget = summary
}

// rank puts groups with trouble first.
func rank(g wire.ForgetGroupResult) int {
	if g.Error != "" || g.Refused > 0 {
		return 0
	}
	return 1
}

func (w *work) prune() error {
	return w.healed(func(r runner) error {
		done, err := r.Prune(w.ctx, restic.PruneOptions{Repository: w.repository, MaxUnused: w.job.Prune.MaxUnused, MaxRepackSize: w.job.Prune.MaxRepackSize,
			Limits: w.limits()}, w.watch)
		w.result.ExitCode = done.ExitCode
		w.result.Prune = &wire.PruneSummary{BytesFreed: count(done.BytesFreed), BytesRemaining: count(done.BytesRemaining), BytesUnused: count(done.BytesUnused)}
		return err
	})
}

func (w *work) check() error {
	return w.healed(func(r runner) error {
		done, err := r.Check(w.ctx, restic.CheckOptions{Repository: w.repository, ReadDataSubset: w.job.Check.ReadDataSubset, Limits: w.limits()}, w.watch)
		w.result.ExitCode = done.ExitCode
		if err != nil && !errors.Is(err, restic.ErrDamaged) {
			return err // restic counts an error then too, which says nothing about the repository
		}
		w.result.Check = &wire.CheckSummary{Errors: int64(done.Errors), ReadDataSubset: w.job.Check.ReadDataSubset, SuggestRepairIndex: done.SuggestRepairIndex, SuggestPrune: done.SuggestPrune}
		for _, problem := range done.Problems[:min(len(done.Problems), wire.MaxListed)] {
			w.result.Check.Problems = append(w.result.Check.Problems, cutText(problem))
		}
		return err
	})
}

func (w *work) unlock() error {
	removed, err := w.restic.patient.Unlock(w.ctx, w.repository, w.watch)
	w.result.LocksRemoved += int64(removed)
	if err == nil {
		w.result.ExitCode = 0
		w.watch.note("stale locks removed: %d; locks of living processes stay", removed)
	}
	return err
}

// verify runs a restore drill.
func (w *work) verify() error {
	var summary wire.VerifySummary
	err := w.healed(func(r runner) (err error) {
		summary, err = w.manager.drill(w.ctx, r, drill.Options{Repository: w.repository, Verify: *w.job.Verify, ScratchDir: w.manager.options.ScratchDir,
			Limits: w.limits(), Observer: w.watch, LiveHost: w.job.ResticHost})
		return err
	})
	w.result.Verify = &summary
	if err != nil {
		return err
	}
	w.result.ExitCode = 0
	if outcome, reason, message := drill.Verdict(summary); outcome != wire.OutcomeSucceeded {
		return &judged{outcome: outcome, reason: reason, message: message}
	}
	return nil
}
