package logs

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/cli/kube"
	"github.com/restic-manager/restic-manager/cli/query"
	"github.com/restic-manager/restic-manager/cli/terminal"
)

// Options of a log.
type Options struct {
	Follow, Verbose, Previous bool
	Since                     *time.Time
	Group                     string
}

// Check refuses options that exclude each other.
func (o Options) Check() error {
	if o.Verbose && !o.Follow {
		return errors.New("-v shows a line per file, which restic writes only while somebody follows: add -f")
	}
	return nil
}

// Target is whose log.
type Target struct {
	Host *v1alpha1.Host
	// Job is set where a HostJob was named.
	Job *v1alpha1.HostJob
}

// Find reads what a person named: a host or a job.
func Find(ctx context.Context, c client.Client, namespace, text string) (Target, error) {
	kind, name, err := kube.Split(text)
	if err != nil {
		return Target{}, err
	}
	switch kind {
	case kube.KindHost:
		host, err := kube.GetHost(ctx, c, namespace, text)
		return Target{Host: host}, err
	case kube.KindJob:
		return findJob(ctx, c, namespace, text)
	case kube.KindSchedule:
		return Target{}, fmt.Errorf("%q has no log: name one of its hosts, or a job", text)
	}
	key := types.NamespacedName{Namespace: namespace, Name: name}
	host, job := &v1alpha1.Host{}, &v1alpha1.HostJob{}
	hostErr, jobErr := c.Get(ctx, key, host), c.Get(ctx, key, job)
	switch {
	case hostErr == nil && jobErr == nil:
		return Target{}, fmt.Errorf("there is a host and a job of the name %s: write host/%s or job/%s", name, name, name)
	case hostErr == nil:
		return Target{Host: host}, nil
	case jobErr == nil:
		return findJob(ctx, c, namespace, name)
	case apierrors.IsNotFound(hostErr) && apierrors.IsNotFound(jobErr):
		if _, err := kube.GetHost(ctx, c, namespace, name); err != nil {
			return Target{}, fmt.Errorf("%w (nor is there a job of that name)", err)
		}
	}
	return Target{}, hostErr
}

func findJob(ctx context.Context, c client.Client, namespace, text string) (Target, error) {
	job, err := kube.GetJob(ctx, c, namespace, text)
	if err != nil {
		return Target{}, err
	}
	host, err := kube.GetHost(ctx, c, namespace, job.Spec.HostRef.Name)
	return Target{Host: host, Job: job}, err
}

// Viewer shows logs.
type Viewer struct {
	Asker    *query.Asker
	Terminal *terminal.Terminal
}

// Show writes a log to the terminal, to its end or until the person has enough.
func (v *Viewer) Show(ctx context.Context, t Target, o Options) error {
	q := wire.LogQuery{Follow: o.Follow, Verbose: o.Verbose, Since: o.Since, Previous: o.Previous, Group: o.Group}
	if t.Job != nil {
		if o.Group != "" || o.Previous {
			return errors.New("--group and --previous choose a job of a host: a job that is named needs neither")
		}
		if t.Job.Status.Phase == v1alpha1.JobExpired {
			return fmt.Errorf("job %s never began, so that it has no log: %s", t.Job.Name, reasonOf(t.Job))
		}
		q.JobID = wire.CommandID(string(t.Job.UID))
	}
	_, err := v.Asker.Log(ctx, t.Host, query.LogOptions{Query: q, Record: v.told}, v.Terminal.Text())
	if err != nil && t.Job != nil && t.Job.Status.LogTail != "" && elsewhere(err) {
		v.Terminal.Notef("%s.\nThis is the end of the log, as the cluster keeps it:", terminal.Harmless(err.Error()))
		_, err = fmt.Fprintln(v.Terminal.Text(), t.Job.Status.LogTail)
	}
	return err
}

// elsewhere tells whether the log is only out of reach.
func elsewhere(err error) bool {
	switch query.ProblemOf(err) {
	case query.ProblemNotConnected, query.ProblemUnreachable, query.ProblemNotEnrolled, query.ProblemNotSigned, query.ProblemRefused,
		query.Problem(wire.AnswerNotFound), query.Problem(wire.AnswerNotAllowed):
		return true
	}
	return false
}

// told says beside the log how its job stands.
func (v *Viewer) told(r wire.LogRecord) {
	if !v.Terminal.Interactive {
		return
	}
	what := string(r.Kind)
	if r.Group != "" {
		what += " of " + terminal.OneLine(r.Group)
	}
	switch r.State {
	case wire.LogWaiting:
		v.note("%s has not begun yet", what)
	case wire.LogRunning:
		v.note("%s is running%s", what, since(r.StartTime))
		if r.NotVerbose {
			v.note("it runs without a line per file: nobody had asked for them when it began")
		}
	case wire.LogEnded:
		if r.Outcome != "" {
			v.note("%s has ended: %s", what, terminal.OneLine(string(r.Outcome)))
		}
	}
}

func (v *Viewer) note(format string, args ...any) {
	v.Terminal.Notef("%s", v.Terminal.Tint(terminal.Faint, "# "+fmt.Sprintf(format, args...)))
}

func since(t *time.Time) string {
	if t == nil {
		return ""
	}
	return " since " + t.Local().Format(time.DateTime)
}

func reasonOf(job *v1alpha1.HostJob) string {
	if r := job.Status.Result; r != nil && r.Message != "" {
		return r.Message
	}
	return "its machine did not take it in time"
}
