package repomaintenance

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/controllers/maintenance"
	"github.com/restic-manager/restic-manager/controllers/status"
)

// keepDefaults gives each host that no RepoMaintenance selects one of its own, and takes it away when people's own selects the host, even an invalid one:
// what they mean to keep must not be forgotten meanwhile.
func (r *repositories) keepDefaults(ctx context.Context, repository *maintenance.Repository) error {
	for _, host := range repository.Hosts {
		selecting := repository.Maintenances.Selecting(host)
		if len(selecting) == 0 {
			if err := r.makeDefault(ctx, host); err != nil {
				return err
			}
			continue
		}
		// People's own come first, so a default that is not alone is not the first.
		for _, m := range selecting[1:] {
			if maintenance.IsDefault(selecting[0]) || !maintenance.IsDefault(m) || m.Name != v1alpha1.DefaultMaintenanceName(host.Name) {
				continue
			}
			log.FromContext(ctx).Info("deleting the default RepoMaintenance: another one selects the Host", "repoMaintenance", m.Name, "by", selecting[0].Name)
			uid, version := m.UID, m.ResourceVersion
			err := r.client.Delete(ctx, m, client.Preconditions{UID: &uid, ResourceVersion: &version})
			if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) { // it is looked at again when it has changed
				return fmt.Errorf("deleting the default RepoMaintenance %s: %w", m.Name, err)
			}
		}
	}
	return nil
}

// makeDefault only ever creates: what people changed in it stays.
func (r *repositories) makeDefault(ctx context.Context, host *v1alpha1.Host) error {
	m := defaultFor(host)
	if err := r.client.Get(ctx, client.ObjectKeyFromObject(m), &v1alpha1.RepoMaintenance{}); !apierrors.IsNotFound(err) {
		return err // nil: it is there, and people made it select something else
	}
	if err := controllerutil.SetControllerReference(host, m, r.client.Scheme(), controllerutil.WithBlockOwnerDeletion(false)); err != nil {
		return fmt.Errorf("making Host %s the owner of its default RepoMaintenance: %w", host.Name, err)
	}
	err := r.client.Create(ctx, m, client.FieldOwner(v1alpha1.ManagerControllers))
	switch {
	case apierrors.IsAlreadyExists(err), status.InTerminatingNamespace(err):
		return nil
	case apierrors.IsInvalid(err):
		log.FromContext(ctx).Error(err, "the Host gets no default RepoMaintenance: create one that selects it")
		return nil
	case err != nil:
		return fmt.Errorf("creating the default RepoMaintenance of Host %s: %w", host.Name, err)
	}
	log.FromContext(ctx).Info("created a default RepoMaintenance for a Host that none selects", "repoMaintenance", m.Name)
	return nil
}

func defaultFor(host *v1alpha1.Host) *v1alpha1.RepoMaintenance {
	m := &v1alpha1.RepoMaintenance{ObjectMeta: metav1.ObjectMeta{
		Namespace: host.Namespace,
		Name:      v1alpha1.DefaultMaintenanceName(host.Name),
		Labels:    map[string]string{v1alpha1.LabelDefault: "true"},
	}}
	m.Spec = v1alpha1.RepoMaintenanceSpec{
		Selector: v1alpha1.Selector{HostRef: &v1alpha1.LocalReference{Name: host.Name}},
		TimeZone: "UTC",
		Jitter:   &metav1.Duration{Duration: 2 * time.Hour},
		Forget:   &v1alpha1.Cadence{Cron: "0 5 * * *"},
		Prune:    &v1alpha1.PruneCadence{Cadence: v1alpha1.Cadence{Cron: "0 6 * * 0"}},
		Check:    &v1alpha1.CheckCadence{Cadence: v1alpha1.Cadence{Cron: "0 7 1 * *"}, ReadDataRotation: 12},
		Verify:   &v1alpha1.VerifyCadence{Cadence: v1alpha1.Cadence{Cron: "0 8 * * 0"}, Sample: 10},
	}
	return m
}
