package restore

import (
	"errors"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/cli/browse"
	"github.com/restic-manager/restic-manager/cli/job"
)

// Request is what a person wants back.
type Request struct {
	// Host is whose files, Onto the machine that gets them, where it is another one.
	Host, Onto *v1alpha1.Host
	Choice     browse.Choice
	// Paths are absolute, or restic patterns for a restore on a machine; none means all. Excludes leave out.
	Paths, Excludes []string
	// Target is a folder on the machine.
	Target    string
	Overwrite v1alpha1.OverwritePolicy
	Verify    bool
	// DryRun ends after the summary, Yes asks nothing.
	DryRun, Yes bool
}

// machine is the one that does the work.
func (r Request) machine() *v1alpha1.Host {
	if r.Onto != nil {
		return r.Onto
	}
	return r.Host
}

// choice is the choice as the working machine has to be asked: for another host's snapshots by that one's name in the repository.
func (r Request) choice() browse.Choice {
	c := r.Choice
	if r.Onto != nil && r.Onto.Name != r.Host.Name && c.ResticHost == "" {
		c.ResticHost = wire.HostRef{Namespace: r.Host.Namespace, Name: r.Host.Name}.ResticHost()
	}
	return c
}

// Check refuses what cannot work, before anything is asked.
func (r Request) Check() error {
	switch {
	case len(r.Paths) > 0 && len(r.Excludes) > 0:
		return errors.New("paths and --exclude exclude each other: restic takes one of them")
	case r.Target != "" && !strings.HasPrefix(r.Target, "/"):
		return fmt.Errorf("--target %q must be an absolute folder on the machine; --to-local is for a folder here", r.Target)
	case r.Onto != nil && !sameRepository(r.Host, r.Onto):
		return fmt.Errorf("%s has another repository (%s) than %s (%s), whose snapshots it cannot read. Name that repository in a Host of its own for the new machine, or restore --to-local and copy the files",
			r.Onto.Name, r.Onto.Spec.Repository.URL, r.Host.Name, r.Host.Spec.Repository.URL)
	}
	return r.Choice.Check()
}

// CheckLocal refuses what cannot be streamed.
func (r Request) CheckLocal() error {
	switch {
	case r.Onto != nil || r.Target != "" || r.Verify:
		return errors.New("--onto, --target and --verify are for a restore on a machine: --to-local and --tar bring the files here")
	case len(r.Excludes) > 0:
		return errors.New("--exclude is for a restore on a machine: name the paths that you want here")
	case r.Overwrite == v1alpha1.OverwriteIfChanged || r.Overwrite == v1alpha1.OverwriteIfNewer:
		return fmt.Errorf("--overwrite %s is for a restore on a machine: Always or Never here; without it nothing that exists is touched", r.Overwrite)
	}
	for _, p := range r.Paths {
		if !strings.HasPrefix(p, "/") {
			return fmt.Errorf("path %q must be absolute: snapshots hold absolute paths", p)
		}
	}
	return r.Choice.Check()
}

func sameRepository(a, b *v1alpha1.Host) bool {
	return strings.TrimRight(a.Spec.Repository.URL, "/") == strings.TrimRight(b.Spec.Repository.URL, "/")
}

// Job is the HostJob of a restore from a snapshot.
func Job(r Request, snapshot string, dryRun bool) *v1alpha1.HostJob {
	machine := r.machine()
	kind := "restore-"
	if dryRun {
		kind = "restore-dry-run-"
	}
	name := kind + machine.Name
	j := &v1alpha1.HostJob{
		ObjectMeta: metav1.ObjectMeta{Namespace: machine.Namespace, GenerateName: name[:min(len(name), 240)] + "-"},
		Spec: v1alpha1.HostJobSpec{
			HostRef: v1alpha1.LocalReference{Name: machine.Name}, Kind: v1alpha1.HostJobRestore,
			Restore: &v1alpha1.RestoreJob{Snapshot: snapshot, Target: r.Target, Includes: r.Paths, Excludes: r.Excludes, Overwrite: r.Overwrite, DryRun: dryRun, Verify: r.Verify && !dryRun},
		},
	}
	if dryRun {
		j.Spec.TTLSecondsAfterFinished = job.Fleeting()
	}
	return j
}
