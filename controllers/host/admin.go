package host

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/resticenv"
	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/controllers/maintenance"
)

// adminState is what is known of the Secret with the admin credentials. What is in it is for the jobs that use it.
type adminState string

const (
	adminFound      adminState = "Found"
	adminMissing    adminState = "Missing"
	adminNotLabeled adminState = "NotLabeled"
)

// gatherAdmin looks for the Secret with the admin credentials, and for who would get them.
func (r *Reconciler) gatherAdmin(ctx context.Context, host *v1alpha1.Host, f *facts) error {
	ref := host.Spec.Repository.AdminCredentialsSecretRef
	if ref == nil {
		return nil
	}
	var err error
	if f.admin, err = r.adminState(ctx, host.Namespace, ref.Name); err != nil {
		return err
	}
	candidates, err := r.maintenances(ctx, host)
	if err != nil {
		return err
	}
	f.maintenance = maintenance.InForce(host, candidates)
	return nil
}

func (r *Reconciler) adminState(ctx context.Context, namespace, name string) (adminState, error) {
	err := r.Client.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, &corev1.Secret{}, client.UnsafeDisableDeepCopy)
	switch {
	case err == nil:
		return adminFound, nil // the cache holds labelled ones only
	case !apierrors.IsNotFound(err):
		return "", fmt.Errorf("reading Secret %s: %w", name, err)
	}
	secret, err := r.secretMetadata(ctx, namespace, name)
	switch {
	case err != nil:
		return "", err
	case secret == nil:
		return adminMissing, nil
	case secret.Labels[v1alpha1.LabelCredentials] != "true":
		return adminNotLabeled, nil
	}
	return adminFound, nil
}

// maintenances lists those that may select a Host: the ones that name it, and the ones with a label selector.
func (r *Reconciler) maintenances(ctx context.Context, host *v1alpha1.Host) ([]v1alpha1.RepoMaintenance, error) {
	var found []v1alpha1.RepoMaintenance
	for _, named := range []string{host.Name, bySelector} {
		list := &v1alpha1.RepoMaintenanceList{}
		err := r.Client.List(ctx, list, client.InNamespace(host.Namespace), client.MatchingFields{indexMaintained: named}, client.UnsafeDisableDeepCopy)
		if err != nil {
			return nil, fmt.Errorf("listing RepoMaintenances: %w", err)
		}
		found = append(found, list.Items...)
	}
	return found, nil
}

// adminReady says whether the Secret is there. It is looked at again every five minutes while it is not: one without its label causes no event.
func adminReady(host *v1alpha1.Host, state adminState) (v verdictOn, present bool) {
	ref := host.Spec.Repository.AdminCredentialsSecretRef
	if ref == nil {
		return verdictOn{}, false
	}
	v = verdictOn{status: metav1.ConditionFalse, again: missingSecretDelay}
	switch state {
	case adminFound:
		return verdictOn{status: metav1.ConditionTrue, reason: v1alpha1.ReasonCredentialsFound, message: fmt.Sprintf("Secret %s is there", ref.Name)}, true
	case adminNotLabeled:
		v.reason = v1alpha1.ReasonCredentialsNotLabeled
		v.message = fmt.Sprintf("Secret %q (spec.repository.adminCredentialsSecretRef) is not marked as credentials for backups, so it is not read: kubectl -n %s label secret %s %s=true",
			ref.Name, host.Namespace, ref.Name, v1alpha1.LabelCredentials)
	default:
		v.reason = v1alpha1.ReasonCredentialsMissing
		v.message = fmt.Sprintf("Secret %q (spec.repository.adminCredentialsSecretRef) does not exist, so prune cannot run: create it in this namespace with %s and the label %s=true",
			ref.Name, resticenv.Password, v1alpha1.LabelCredentials)
	}
	return v, true
}

// adminExposed says that who takes over the machine could delete its backups, for as long as that is so. An executor that is the machine itself was
// named by a person, who trusts it.
func adminExposed(host *v1alpha1.Host, inForce *v1alpha1.RepoMaintenance) (v verdictOn, present bool) {
	if host.Spec.Repository.AdminCredentialsSecretRef == nil || inForce != nil && inForce.Spec.ExecutorRef != nil {
		return verdictOn{}, false
	}
	what := "no RepoMaintenance is in force"
	if inForce != nil {
		what = fmt.Sprintf("RepoMaintenance %s names no executorRef", inForce.Name)
	}
	return verdictOn{status: metav1.ConditionTrue, reason: v1alpha1.ReasonNoExecutor, message: what +
		", so the machine itself gets the admin credentials when it prunes or forgets: whoever takes it over can then delete its backups. " +
		"Name a trusted Host in spec.executorRef, for instance an agent beside the repository"}, true
}
