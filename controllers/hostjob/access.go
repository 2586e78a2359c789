package hostjob

import (
	"time"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/controllers/maintenance"
	"github.com/restic-manager/restic-manager/controllers/status"
)

// settleTime is how old a job must be before it fails for what other objects say: those that were applied together with it may be seen a moment later.
const settleTime = 5 * time.Second

// access is with which credential a job comes at the repository, and in which Secret that is; the machine's own needs none.
type access struct {
	credential string
	secret     string
}

// accessOf decides whose credentials a job gets; here and nowhere else it is decided to which machine those go that may delete. It needs host and target. An
// error means that the job gets none.
func accessOf(f facts) (access, error) {
	if f.target.Name != f.host.Name {
		if err := mayWorkElsewhere(f); err != nil {
			return access{}, err
		}
		return elsewhere(f)
	}
	switch f.job.Spec.Kind {
	case v1alpha1.HostJobForget, v1alpha1.HostJobPrune:
		return ownRepository(f)
	}
	return access{credential: wire.CredentialRepository}, nil
}

// ownRepository is for what needs, or is better done with, the right to delete.
func ownRepository(f facts) (access, error) {
	admin, bound := adminAccess(f)
	switch {
	case !bound && f.job.Spec.Kind == v1alpha1.HostJobPrune:
		return access{}, noAdminCredentials(f)
	case !bound:
		return access{credential: wire.CredentialRepository}, nil
	}
	if executor, target, by := executorElsewhere(f); executor != "" {
		return access{}, f.refuse(v1alpha1.ReasonNotTheExecutor,
			"Host %q gets no admin credentials: RepoMaintenance %q names Host %q as the executor (spec.executorRef), so they go there and nowhere else. Create the HostJob with hostRef: %s and targetRef: %s",
			f.host.Name, by, executor, executor, target)
	}
	return admin, nil
}

// elsewhere is for the executor, once it is known that it is one.
func elsewhere(f facts) (access, error) {
	admin, bound := adminAccess(f)
	switch f.job.Spec.Kind {
	case v1alpha1.HostJobForget, v1alpha1.HostJobCheck:
		if bound {
			return admin, nil
		}
		return targetAccess(f)
	case v1alpha1.HostJobPrune:
		if bound {
			return admin, nil
		}
		return access{}, noAdminCredentials(f)
	case v1alpha1.HostJobUnlock:
		return targetAccess(f) // who may back up may unlock
	}
	return access{}, status.Stalled(v1alpha1.ReasonInvalid, "spec.targetRef: a job of kind %s works on the machine itself: create it with hostRef: %s alone", f.job.Spec.Kind, f.target.Name)
}

func targetAccess(f facts) (access, error) {
	if maintenance.OnMachine(f.target) {
		return access{}, onAnotherMachine(f)
	}
	return access{credential: wire.CredentialTarget, secret: f.target.CredentialsSecretName()}, nil
}

// onAnotherMachine keeps an executor from what it has itself at the path at which the target has its repository.
func onAnotherMachine(f facts) error {
	return status.Stalled(v1alpha1.ReasonInvalid,
		"spec.targetRef: the repository of Host %q is a path on that machine: say in the Secret of its spec.repository.adminCredentialsSecretRef, as %s, by which URL or path Host %q comes at it",
		f.target.Name, v1alpha1.AdminRepositoryKey, f.host.Name)
}

func adminAccess(f facts) (access, bool) {
	ref := f.target.Spec.Repository.AdminCredentialsSecretRef
	if ref == nil {
		return access{}, false
	}
	return access{credential: wire.CredentialAdmin, secret: ref.Name}, true
}

func noAdminCredentials(f facts) error {
	return f.refuse(v1alpha1.ReasonNoAdminCredentials,
		"a prune is not begun without admin credentials (it would upload before it fails): bind them at Host %q, spec.repository.adminCredentialsSecretRef", f.target.Name)
}

// mayWorkElsewhere demands that the RepoMaintenance in force for the target names the host: else whoever may create HostJobs could have the credentials of
// any repository sealed to a machine of his own.
func mayWorkElsewhere(f facts) error {
	host, target := f.host.Name, f.target.Name
	inForce := maintenance.InForce(f.target, f.maintenances)
	switch {
	case inForce == nil || inForce.Spec.ExecutorRef == nil:
		return f.refuse(v1alpha1.ReasonNotTheExecutor,
			"spec.targetRef: Host %q may not work on the repository of Host %q: no RepoMaintenance in force for it names an executor. Name Host %q as its spec.executorRef, or create the HostJob with hostRef: %s alone",
			host, target, host, target)
	case inForce.Spec.ExecutorRef.Name != host:
		return f.refuse(v1alpha1.ReasonNotTheExecutor,
			"spec.targetRef: Host %q may not work on the repository of Host %q: RepoMaintenance %q names Host %q as the executor. Create the HostJob with hostRef: %s",
			host, target, inForce.Name, inForce.Spec.ExecutorRef.Name, inForce.Spec.ExecutorRef.Name)
	}
	return nil
}

// executorElsewhere returns the Host that a RepoMaintenance names as the executor instead of the machine itself, the Host through which it does, and its name. One that is
// not valid counts too, as does one whose executor does not exist: a slip of the pen must not bring the credentials to the machine.
func executorElsewhere(f facts) (executor, target, by string) {
	index := maintenance.NewIndex(f.maintenances)
	names := func(m *v1alpha1.RepoMaintenance) bool {
		return m != nil && m.Spec.ExecutorRef != nil && m.Spec.ExecutorRef.Name != f.host.Name
	}
	through, inForce := index.InForceForRepository(f.sharing)
	if names(inForce) {
		return inForce.Spec.ExecutorRef.Name, through.Name, inForce.Name
	}
	inForce = index.InForce(f.target)
	for _, m := range index.Selecting(f.target) {
		invalid := !maintenance.IsDefault(m) && maintenance.CheckSpec(&m.Spec) != nil
		if (m == inForce || invalid) && names(m) {
			return m.Spec.ExecutorRef.Name, f.target.Name, m.Name
		}
	}
	return "", "", ""
}

// refuse is for what only a change of other objects can help: it is final once the job is old enough for those that came with it to be seen.
func (f facts) refuse(reason, format string, args ...any) error {
	if left := f.job.CreationTimestamp.Add(settleTime).Sub(f.now); left > 0 {
		return status.Waiting(reason, left, format, args...)
	}
	return status.Stalled(reason, format, args...)
}
