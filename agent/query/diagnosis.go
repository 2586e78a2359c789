package query

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/restic-manager/restic-manager/agent/restic"
	"github.com/restic-manager/restic-manager/api/wire"
)

// repositoryPatience is how long the repository may take to open for a diagnosis.
const repositoryPatience = 20 * time.Second

func (t *task) diagnosis() error {
	record := t.answers.o.Diagnosis()
	t.lookAtRepository(&record)
	if err := context.Cause(t.ctx); err != nil {
		return err
	}
	return t.answer.record(record)
}

// lookAtRepository opens the repository, and lists its locks.
func (t *task) lookAtRepository(record *wire.DiagnosisRecord) {
	ctx, cancel := context.WithCancelCause(t.ctx)
	defer cancel(nil)
	timer := t.answers.o.Clock.NewTimer(repositoryPatience)
	go func() {
		defer timer.Stop()
		select {
		case <-timer.C():
			cancel(context.DeadlineExceeded)
		case <-ctx.Done():
		}
	}()
	record.RepositoryChecked = true
	var locks []restic.Lock
	err := t.repository(ctx, func(r Repository) error {
		state, err := r.Restic.Probe(ctx, r.Repository, nil)
		if err == nil && state == restic.StateMissing {
			err = &restic.Error{Kind: restic.KindNoRepository, Message: "there is no repository at the Host's URL"}
		}
		if err == nil {
			locks, err = r.Restic.Locks(ctx, r.Repository, nil)
		}
		return err
	})
	for _, l := range locks[:min(len(locks), wire.MaxListed)] {
		record.Locks = append(record.Locks, lockText(l))
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = &restic.Error{Kind: restic.KindUnreachable,
			Message: fmt.Sprintf("the repository did not answer within %v; check the URL, the network and the server", repositoryPatience)}
	}
	if err != nil {
		record.RepositoryReason, record.RepositoryMessage = string(repositoryReason(err)), wire.Cut(err.Error(), wire.MaxString)
	}
}

func lockText(l restic.Lock) string {
	if l.Time.IsZero() {
		return l.ID
	}
	kind := "shared"
	if l.Exclusive {
		kind = "exclusive"
	}
	text := fmt.Sprintf("%.8s %s, of process %d of %s on %s, refreshed %s", l.ID, kind, l.PID, l.User, l.Hostname, l.Time.UTC().Format(time.RFC3339))
	return wire.Cut(text, wire.MaxName)
}

// repositoryReason names a failure as results of jobs do.
func repositoryReason(err error) wire.Reason {
	var known *refusal
	if errors.As(err, &known) {
		return wire.ReasonNoCredential
	}
	switch kind := restic.KindOf(err); kind {
	case restic.KindNoRepository, restic.KindHalfInitialised, restic.KindLocked, restic.KindWrongPassword, restic.KindUnauthorized, restic.KindUnreachable:
		return wire.Reason(kind)
	case restic.KindTLS:
		return wire.ReasonTLS
	case restic.KindNotStarted:
		return wire.ReasonResticMissing
	case restic.KindInvalid:
		return wire.ReasonNoCredential
	}
	return wire.ReasonResticFailed
}
