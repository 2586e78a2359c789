package job

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/cli/kube"
	"github.com/restic-manager/restic-manager/cli/terminal"
)

// ErrFailed says that a job ended otherwise than well; what happened has been told.
var ErrFailed = errors.New("the job did not succeed")

// ErrStopped says that the person stopped watching.
var ErrStopped = errors.New("stopped watching")

// Watcher shows jobs until they have ended.
type Watcher struct {
	Client   client.WithWatch
	Terminal *terminal.Terminal
	Clock    clock.WithTicker
	// Quiet shows the bar and no sentences.
	Quiet bool
}

// Watch shows how far a job is, until it has ended. The job holds its last state afterwards.
func (w *Watcher) Watch(ctx context.Context, j *v1alpha1.HostJob) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	interrupts := make(chan struct{}, 1)
	if i := w.Terminal.Interrupts; i != nil {
		defer i.Catch(func() {
			select {
			case interrupts <- struct{}{}:
			default:
			}
		})()
	}
	states := make(chan *v1alpha1.HostJob)
	ended := make(chan error, 1)
	watched := j.DeepCopy() // j is this goroutine's
	go func() {
		ended <- kube.Until(ctx, w.Client, watched, func(now *v1alpha1.HostJob) (bool, error) {
			select {
			case states <- now.DeepCopy():
				return now.Status.Phase.Finished(), nil
			case <-ctx.Done():
				return false, ctx.Err()
			}
		})
	}()
	d := &display{w: w, meter: &Meter{}}
	tick := w.Clock.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case now := <-states:
			now.DeepCopyInto(j)
			d.show(j)
		case <-tick.C():
			d.again(j)
		case <-interrupts:
			d.clear()
			if err := w.interrupted(ctx, j); err != nil {
				return err
			}
		case err := <-ended:
			d.clear()
			if err != nil {
				return err
			}
			return w.tell(j)
		}
	}
}

// tell says how a job ended.
func (w *Watcher) tell(j *v1alpha1.HostJob) error {
	tone := terminal.Good
	if j.Status.Phase != v1alpha1.JobSucceeded {
		tone = terminal.Bad
	}
	if !w.Quiet {
		w.Terminal.Printf("%s: %s\n", j.Name, w.Terminal.Tint(tone, Outcome(j, w.Clock.Now())))
	}
	if j.Status.Phase != v1alpha1.JobSucceeded {
		return fmt.Errorf("%w: %s", ErrFailed, j.Name)
	}
	return nil
}

// interrupted asks what Ctrl-C means. Without somebody to ask it means to stop watching.
func (w *Watcher) interrupted(ctx context.Context, j *v1alpha1.HostJob) error {
	asking, stop := context.WithCancel(ctx)
	defer stop()
	if i := w.Terminal.Interrupts; i != nil {
		defer i.Catch(stop)() // a second Ctrl-C is an answer too
	}
	answer, err := w.Terminal.Choose(asking, fmt.Sprintf("\n%s goes on by itself. [s]top watching, [c]ancel the job, or [w]atch on? [s] ", j.Name), "scw")
	switch {
	case errors.Is(err, terminal.ErrNobodyToAsk), err == nil && answer == 's', asking.Err() != nil && ctx.Err() == nil:
		w.Terminal.Notef("%s goes on. To see it: kubectl restic logs job/%s -n %s -f. To cancel it: kubectl restic cancel %s -n %s",
			j.Name, j.Name, j.Namespace, j.Name, j.Namespace)
		return ErrStopped
	case err != nil:
		return err
	case answer == 'c':
		w.Terminal.Notef("Cancelling; restic ends within a minute or so.")
		return Cancel(ctx, w.Client, j)
	}
	return nil
}

// Cancel asks to stop a job.
func Cancel(ctx context.Context, c client.Client, j *v1alpha1.HostJob) error {
	base := j.DeepCopy()
	j.Spec.Cancel = true
	return c.Patch(ctx, j, client.MergeFrom(base))
}

// display writes what has changed: a bar that moves, or lines.
type display struct {
	w     *Watcher
	meter *Meter
	last  string
	drawn bool
}

func (d *display) show(j *v1alpha1.HostJob) {
	d.meter.Add(j.Status.Progress)
	if d.w.Terminal.Interactive {
		d.again(j)
		return
	}
	if j.Status.Phase.Finished() || d.w.Quiet {
		return
	}
	if line := Line(j, d.meter, d.w.Clock.Now()); line != d.last {
		d.last = line
		d.w.Terminal.Printf("%s: %s\n", j.Name, line)
	}
}

// again draws the bar anew.
func (d *display) again(j *v1alpha1.HostJob) {
	if !d.w.Terminal.Interactive || j.Status.Phase.Finished() {
		return
	}
	width := d.w.Terminal.Width()
	if width == 0 {
		width = 80
	}
	d.w.Terminal.Printf("\r%s\x1b[K", Bar(j, d.meter, d.w.Clock.Now(), width))
	d.drawn = true
}

func (d *display) clear() {
	if d.drawn {
		d.w.Terminal.Printf("\r\x1b[K")
		d.drawn = false
	}
}
