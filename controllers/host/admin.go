package host

import (
	"context"
	"errors"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/controllers/credentials"
	"github.com/restic-manager/restic-manager/controllers/internal/selecting"
	"github.com/restic-manager/restic-manager/controllers/maintenance"
)

// adminFacts are what is known of a Host's admin credentials; nil for a Host that names none.
type adminFacts struct {
	// problem is what is wrong with the Secret; nil for nothing.
	problem *credentials.Problem
	// trusted says that they go to an executor that a person named, and nowhere else.
	trusted bool
	// inForce is the name of the RepoMaintenance that counts for the repository; empty for none.
	inForce string
}

// gatherAdmin judges the Secret with the admin credentials, and finds out who would get them.
func (r *Reconciler) gatherAdmin(ctx context.Context, host *v1alpha1.Host) (*adminFacts, error) {
	ref := host.Spec.Repository.AdminCredentialsSecretRef
	if ref == nil {
		return nil, nil
	}
	f := &adminFacts{}
	reader := credentials.Reader{Cache: r.Client, Live: r.Live}
	if _, err := reader.ReadAdmin(ctx, host.Namespace, ref.Name, host.Spec.Repository.URL); err != nil && !errors.As(err, &f.problem) {
		return nil, err
	}
	sharing, all, err := r.maintained(ctx, host)
	if err != nil {
		return nil, err
	}
	f.inForce, f.trusted = executor(host, sharing, all)
	return f, nil
}

// executor returns the name of the RepoMaintenance that counts for a Host's repository, and whether one that counts names an executor. One that is not
// valid counts for that, since no job brings admin credentials to the machine then either.
func executor(host *v1alpha1.Host, sharing []*v1alpha1.Host, all []v1alpha1.RepoMaintenance) (inForce string, named bool) {
	index := maintenance.NewIndex(all)
	if _, m := index.InForceForRepository(sharing); m != nil {
		inForce, named = m.Name, m.Spec.ExecutorRef != nil
	}
	own := index.InForce(host)
	for _, m := range index.Selecting(host) {
		invalid := !maintenance.IsDefault(m) && maintenance.CheckSpec(&m.Spec) != nil
		named = named || (m == own || invalid) && m.Spec.ExecutorRef != nil
	}
	return inForce, named
}

// maintained lists the Hosts that share a Host's repository, and the RepoMaintenances that may select one of them.
func (r *Reconciler) maintained(ctx context.Context, host *v1alpha1.Host) ([]*v1alpha1.Host, []v1alpha1.RepoMaintenance, error) {
	hosts, err := selecting.Sharing(ctx, r.Client, []v1alpha1.Host{*host})
	if err != nil {
		return nil, nil, err
	}
	all, err := selecting.Maintenances(ctx, r.Client, host.Namespace, selecting.Names(hosts))
	return maintenance.Sharing(host, hosts), all, err
}

// adminReady says what is wrong with the Secret. One that is missing is looked for every five minutes: without its label it causes no event.
func adminReady(f *adminFacts) (v verdictOn, present bool) {
	switch {
	case f == nil:
		return verdictOn{}, false
	case f.problem == nil:
		return verdictOn{status: metav1.ConditionTrue, reason: v1alpha1.ReasonCredentialsFound, message: "the Secret with the admin credentials is there"}, true
	}
	v = verdictOn{status: metav1.ConditionFalse, reason: f.problem.Reason, message: f.problem.Message + "; until then prune cannot run"}
	if !f.problem.Lasting {
		v.again = missingSecretDelay
	}
	return v, true
}

// adminExposed says that who takes over the machine could delete its backups, for as long as that is so. An executor that is the machine itself was
// named by a person, who trusts it.
func adminExposed(f *adminFacts) (v verdictOn, present bool) {
	if f == nil || f.trusted {
		return verdictOn{}, false
	}
	what := "no RepoMaintenance is in force"
	if f.inForce != "" {
		what = fmt.Sprintf("RepoMaintenance %s names no executorRef", f.inForce)
	}
	return verdictOn{status: metav1.ConditionTrue, reason: v1alpha1.ReasonNoExecutor, message: what +
		", so the machine itself gets the admin credentials when it prunes or forgets: whoever takes it over can then delete its backups. " +
		"Name a trusted Host in spec.executorRef, for instance an agent beside the repository"}, true
}
