package desired

import (
	"context"
	"slices"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const jobHostIndex = "spec.hostRef.name"

// IndexJobs makes the cache find HostJobs by host.
func IndexJobs(ctx context.Context, indexer client.FieldIndexer) error {
	return indexer.IndexField(ctx, &v1alpha1.HostJob{}, jobHostIndex, func(o client.Object) []string {
		job := o.(*v1alpha1.HostJob)
		if job.Status.Phase.Finished() {
			return nil
		}
		return []string{job.Spec.HostRef.Name}
	})
}

// jobs sends the commands of the host's unfinished jobs, and their cancellations, once per session. The agent knows those that it had
// before.
func (p *Pusher) jobs(ctx context.Context, host wire.HostRef, s *sent) error {
	var list v1alpha1.HostJobList
	if err := p.o.Cache.List(ctx, &list, client.InNamespace(host.Namespace), client.MatchingFields{jobHostIndex: host.Name}); err != nil {
		return err
	}
	// Oldest first, so that the agent's queue is that of the people who asked.
	slices.SortFunc(list.Items, func(a, b v1alpha1.HostJob) int {
		if c := a.CreationTimestamp.Compare(b.CreationTimestamp.Time); c != 0 {
			return c
		}
		return slices.Compare([]byte(a.Name), []byte(b.Name))
	})
	present := make(map[string]bool, len(list.Items))
	for i := range list.Items {
		job := &list.Items[i]
		present[string(job.UID)] = true
		if err := p.job(ctx, s, job); err != nil {
			return err
		}
	}
	forget(s.run, present)
	forget(s.cancel, present)
	return nil
}

// mark notes what was sent.
func mark(known *map[string]bool, uid string) {
	if *known == nil {
		*known = map[string]bool{}
	}
	(*known)[uid] = true
}

// forget keeps what a long session remembers in proportion to the jobs there are.
func forget(known, present map[string]bool) {
	for uid := range known {
		if !present[uid] {
			delete(known, uid)
		}
	}
}

func (p *Pusher) job(ctx context.Context, s *sent, job *v1alpha1.HostJob) error {
	uid := string(job.UID)
	id := wire.CommandID(uid)
	if !s.run[uid] && job.Status.Command != nil && complete(job) && !(job.Spec.Cancel && job.Status.Phase == v1alpha1.JobPending) {
		if err := p.run(ctx, s, job); err != nil {
			return err
		}
	}
	if !s.cancel[uid] && s.run[uid] && job.Spec.Cancel && job.Status.CancelCommand != nil {
		command := job.Status.CancelCommand
		cancel := &wire.CommandCancel{JobID: id, Cancel: command.Document, Signatures: signaturesOf(command.Signatures)}
		if err := s.link.Send(cancel); err != nil {
			return err
		}
		p.o.Logger.Info("cancellation sent", "host", s.link.Host().String(), "hostJob", job.Name, "job", id)
		mark(&s.cancel, uid)
	}
	return nil
}

func (p *Pusher) run(ctx context.Context, s *sent, job *v1alpha1.HostJob) error {
	run, err := runOf(job)
	if err != nil {
		p.o.Logger.Error("the published command cannot be sent", "host", s.link.Host().String(), "hostJob", job.Name, "error", err)
		return nil
	}
	send, err := p.o.Jobs.Dispatched(ctx, s.link, job)
	if err != nil || !send {
		return err
	}
	if err := s.link.Send(run); err != nil {
		return err
	}
	p.o.Logger.Info("command sent", "host", s.link.Host().String(), "hostJob", job.Name, "job", run.JobID, "credentials", len(run.Credentials))
	mark(&s.run, string(job.UID))
	return nil
}
