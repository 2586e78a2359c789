package restore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/cli/browse"
	"github.com/restic-manager/restic-manager/cli/job"
	"github.com/restic-manager/restic-manager/cli/query"
	"github.com/restic-manager/restic-manager/cli/terminal"
)

// ErrDeclined says that the person did not want it.
var ErrDeclined = errors.New("nothing was restored")

// Restorer restores.
type Restorer struct {
	Client   client.WithWatch
	Asker    *query.Asker
	Terminal *terminal.Terminal
	Clock    clock.WithTicker
}

// OnMachine restores on a machine: it chooses the snapshot, tries it dry, asks, and does it.
func (r *Restorer) OnMachine(ctx context.Context, q Request) error {
	if err := q.Check(); err != nil {
		return err
	}
	if !q.Yes && !q.DryRun && !r.Terminal.Answers {
		return terminal.ErrNobodyToAsk
	}
	snapshot, err := browse.Resolve(ctx, r.Asker, q.machine(), q.choice())
	if err != nil {
		return err
	}
	r.tell(q, snapshot)
	if !q.Yes || q.DryRun {
		summary, err := r.run(ctx, Job(q, snapshot.ID, true), true)
		if err != nil {
			return err
		}
		r.Terminal.Printf("Dry run: %s\n", job.RestoreSummary(summary))
		if q.DryRun {
			return nil
		}
		if yes, err := r.Terminal.Confirm(ctx, fmt.Sprintf("Restore this on %s?", q.machine().Name)); err != nil {
			return err
		} else if !yes {
			return ErrDeclined
		}
	}
	_, err = r.run(ctx, Job(q, snapshot.ID, false), false)
	return err
}

// tell names the snapshot and the machine.
func (r *Restorer) tell(q Request, s wire.SnapshotRecord) {
	r.Terminal.Notef("%s", Headline(q, s, r.Clock.Now()))
}

// Headline says what is restored from where.
func Headline(q Request, s wire.SnapshotRecord, now time.Time) string {
	text := fmt.Sprintf("Snapshot %s of %s, %s (%s ago)", browse.Short(s.ID), q.Host.Name, s.Time.In(now.Location()).Format(time.DateTime), terminal.Ago(s.Time, now))
	if s.Files > 0 {
		text += fmt.Sprintf(", %s, %s in all", terminal.Count(s.Files, "file"), terminal.Bytes(s.Bytes))
	}
	return terminal.OneLine(text)
}

// run creates a job and watches it to its end.
func (r *Restorer) run(ctx context.Context, j *v1alpha1.HostJob, dry bool) (*v1alpha1.RestoreSummary, error) {
	if err := r.Client.Create(ctx, j); err != nil {
		return nil, err
	}
	w := &job.Watcher{Client: r.Client, Terminal: r.Terminal, Clock: r.Clock, Quiet: dry}
	if err := w.Watch(ctx, j); err != nil {
		if dry && errors.Is(err, job.ErrFailed) {
			return nil, fmt.Errorf("the dry run %s: %w", job.Outcome(j, r.Clock.Now()), err)
		}
		return nil, err
	}
	if j.Status.Result == nil || j.Status.Result.Restore == nil {
		return nil, fmt.Errorf("job %s succeeded and says nothing of what it restored: its agent is of an older version", j.Name)
	}
	return j.Status.Result.Restore, nil
}
