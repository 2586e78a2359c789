package hostjob

import (
	"fmt"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/controllers/compile"
	"github.com/restic-manager/restic-manager/controllers/internal/convert"
	"github.com/restic-manager/restic-manager/controllers/status"
)

// compileCommand returns the document to sign, or what hinders it.
func compileCommand(f facts) (string, error) {
	if err := hinders(f); err != nil {
		return "", err
	}
	identity, err := identityOf(f.host)
	if err != nil {
		return "", err
	}
	spec := &f.job.Spec
	ref := convert.Ref(f.host)
	command := wire.JobCommand{
		Label:                 wire.JobCommandLabel,
		Host:                  ref,
		IdentityHash:          identity.Hash(),
		Name:                  f.job.Name,
		UID:                   string(f.job.UID),
		NotAfter:              startingDeadline(f.job).UTC(),
		ActiveDeadlineSeconds: spec.ActiveDeadlineSeconds,
		Kind:                  wire.JobKind(spec.Kind),
		ResticHost:            ref.ResticHost(),
		Repository:            compile.Repository(f.host),
		Bandwidth:             compile.Bandwidth(f.host),
	}
	if spec.Backup != nil {
		command.Backup = new(compile.Group(f.group))
	}
	if spec.Restore != nil {
		command.Restore = restore(spec.Restore, f.group, ref)
	}
	document, err := wire.EncodeDocument(&command)
	if err != nil {
		return "", status.Stalled(v1alpha1.ReasonInvalid, "the job cannot be given to a machine: %w", err)
	}
	return document, nil
}

func latest(r *v1alpha1.RestoreJob) bool {
	return r.Snapshot == "" || r.Snapshot == wire.LatestSnapshot
}

// restore names a snapshot by its id, or the newest one by the group's tag and this host's name.
func restore(spec *v1alpha1.RestoreJob, group *v1alpha1.SourceGroup, host wire.HostRef) *wire.Restore {
	r := &wire.Restore{
		Snapshot:  spec.Snapshot,
		Target:    spec.Target,
		Includes:  spec.Includes,
		Excludes:  spec.Excludes,
		Overwrite: overwrite(spec.Overwrite),
		DryRun:    spec.DryRun,
		Verify:    spec.Verify,
	}
	if latest(spec) {
		r.Snapshot, r.ResticHost, r.Tag = wire.LatestSnapshot, host.ResticHost(), group.TagOrName()
	}
	return r
}

// overwrite translates to restic's own word. What the schema does not allow stays as it is, for the validation to refuse.
func overwrite(policy v1alpha1.OverwritePolicy) string {
	switch policy {
	case v1alpha1.OverwriteAlways:
		return "always"
	case v1alpha1.OverwriteIfChanged, "":
		return "if-changed"
	case v1alpha1.OverwriteIfNewer:
		return "if-newer"
	case v1alpha1.OverwriteNever:
		return "never"
	}
	return string(policy)
}

// cancelDocument returns the document that makes the machine stop the job.
func cancelDocument(f facts) (string, error) {
	if f.host == nil || f.host.Spec.Identity == nil {
		return "", status.Waiting(v1alpha1.ReasonHostNotFound, 0, "the job cannot be cancelled: Host %q is gone or not enrolled", f.job.Spec.HostRef.Name)
	}
	identity, err := identityOf(f.host)
	if err != nil {
		return "", err
	}
	document, err := wire.EncodeDocument(&wire.JobCancel{
		Label:        wire.JobCancelLabel,
		Host:         convert.Ref(f.host),
		IdentityHash: identity.Hash(),
		UID:          string(f.job.UID),
	})
	if err != nil {
		return "", fmt.Errorf("the cancellation cannot be given to a machine: %w", err)
	}
	return document, nil
}

func identityOf(host *v1alpha1.Host) (*wire.Identity, error) {
	identity, err := convert.Identity(host.Spec.Identity)
	if err != nil {
		return nil, status.Waiting(v1alpha1.ReasonInvalid, 0, "Host %q: spec.identity: %w", host.Name, err)
	}
	return identity, nil
}
