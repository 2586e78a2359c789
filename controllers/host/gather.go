package host

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/resticenv"
	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/controllers/compile"
	"github.com/restic-manager/restic-manager/controllers/credentials"
	"github.com/restic-manager/restic-manager/controllers/internal/convert"
	"github.com/restic-manager/restic-manager/controllers/internal/selecting"
	"github.com/restic-manager/restic-manager/controllers/status"
)

// missingSecretDelay is how long a Host without credentials waits before it looks for a Secret that came without its label.
const missingSecretDelay = 5 * time.Minute

// facts are what the rest of a reconciliation is decided from.
type facts struct {
	// identity is nil until the machine is enrolled, and when it is malformed.
	identity    *wire.Identity
	identityErr error
	// credential, or why there is none.
	credential    credentials.Plain
	credentialErr error
	// minted is the Secret that was made here, if the Host uses it; nil when it is gone.
	minted    *corev1.Secret
	admin     *adminFacts
	groups    []v1alpha1.SourceGroup // those that may concern the Host; shared with the cache
	schedules []v1alpha1.Schedule
	set       *v1alpha1.ScheduleSet // as published; nil for none

	compiled *wire.ScheduleSet // what the set is to say; nil when something hinders
	findings []compile.Finding // what compiling left out
	again    time.Duration     // when to look again at what an earlier Host of the name left; 0 for nothing
}

// gather reads everything. mintErr is why credentials that are to be made were not.
func (r *Reconciler) gather(ctx context.Context, host *v1alpha1.Host, mintErr error) (*facts, error) {
	f := &facts{}
	set := &v1alpha1.ScheduleSet{}
	switch err := r.Client.Get(ctx, client.ObjectKeyFromObject(host), set); {
	case err == nil:
		f.set = set
	case !apierrors.IsNotFound(err):
		return nil, fmt.Errorf("reading the ScheduleSet: %w", err)
	}
	f.identity, f.identityErr = identityOf(host)
	if f.credentialErr = mintErr; mintErr == nil {
		if err := r.gatherCredential(ctx, host, f); err != nil {
			return nil, err
		}
	}
	var err error
	if f.admin, err = r.gatherAdmin(ctx, host); err != nil {
		return nil, err
	}

	if err := r.gatherWork(ctx, host, f); err != nil {
		return nil, err
	}
	return f, nil
}

// gatherWork reads what the Host may be to run: the groups that select it, the Schedules that name one of them, and what else these name. The groups that it
// has results of are read as well, since they may have a tag in common with one of the others. What is found here is shared with the cache.
func (r *Reconciler) gatherWork(ctx context.Context, host *v1alpha1.Host, f *facts) error {
	var err error
	if f.groups, err = selecting.Groups(ctx, r.Client, host); err != nil {
		return err
	}
	names := make([]string, 0, len(f.groups))
	for i := range f.groups {
		names = append(names, f.groups[i].Name)
	}
	if f.schedules, err = selecting.Schedules(ctx, r.Client, host.Namespace, names...); err != nil {
		return err
	}
	var more []string
	for i := range f.schedules {
		more = append(more, f.schedules[i].Spec.SourceGroups...)
	}
	for i := range host.Status.SourceGroups {
		more = append(more, host.Status.SourceGroups[i].Name)
	}
	slices.Sort(more)
	for _, name := range slices.Compact(more) {
		if slices.Contains(names, name) {
			continue
		}
		group := &v1alpha1.SourceGroup{}
		switch err := r.Client.Get(ctx, client.ObjectKey{Namespace: host.Namespace, Name: name}, group, client.UnsafeDisableDeepCopy); {
		case apierrors.IsNotFound(err):
		case err != nil:
			return fmt.Errorf("reading SourceGroup %s: %w", name, err)
		default:
			f.groups = append(f.groups, *group)
		}
	}
	return nil
}

// gatherCredential reads what opens the repository.
func (r *Reconciler) gatherCredential(ctx context.Context, host *v1alpha1.Host, f *facts) error {
	if usesMinted(host) {
		var err error
		if f.minted, err = r.mintedSecret(ctx, host); err != nil {
			return err
		}
	}
	if f.minted != nil {
		backend, err := resticenv.Backend(host.Spec.Repository.URL)
		if err == nil {
			f.credential, err = credentials.Judge(f.minted, backend)
			f.credentialErr = asStatus(err)
			return nil
		}
	}
	reader := credentials.Reader{Cache: r.Client, Live: r.Live}
	var err error
	f.credential, err = reader.Read(ctx, host.Namespace, host.CredentialsSecretName(), host.Spec.Repository.URL)
	var problem *credentials.Problem
	if errors.As(err, &problem) && problem.Reason == v1alpha1.ReasonCredentialsMissing && usesMinted(host) {
		problem.Message = mintedMissing(host)
	}
	f.credentialErr = asStatus(err)
	return nil
}

// identityOf decodes the pinned keys; nil for none.
func identityOf(host *v1alpha1.Host) (*wire.Identity, error) {
	if host.Spec.Identity == nil {
		return nil, nil
	}
	identity, err := convert.Identity(host.Spec.Identity)
	if err != nil {
		return nil, status.Stalled(v1alpha1.ReasonInvalid, "spec.identity: %w: give the two public keys as the agent prints them", err)
	}
	return identity, nil
}
