package hostjob

import (
	"fmt"
	"strings"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/controllers/compile"
	"github.com/restic-manager/restic-manager/controllers/internal/convert"
	"github.com/restic-manager/restic-manager/controllers/maintenance"
	"github.com/restic-manager/restic-manager/controllers/status"
)

// defaultSample is that of the schema, for a Verify that leaves it out.
const defaultSample = 20

// compileCommand returns what to sign, without the hashes of sealed credentials, or what hinders it.
func compileCommand(f facts) (*wire.JobCommand, error) {
	if err := hinders(f); err != nil {
		return nil, err
	}
	identity, err := identityOf(f.host)
	if err != nil {
		return nil, err
	}
	with, err := accessOf(f)
	if err != nil {
		return nil, err
	}
	repository, err := repositoryOf(f, with)
	if err != nil {
		return nil, err
	}
	ref := convert.Ref(f.host)
	command := &wire.JobCommand{
		Label:                 wire.JobCommandLabel,
		Host:                  ref,
		IdentityHash:          identity.Hash(),
		Name:                  f.job.Name,
		UID:                   string(f.job.UID),
		NotAfter:              startingDeadline(f.job).UTC(),
		ActiveDeadlineSeconds: f.job.Spec.ActiveDeadlineSeconds,
		Kind:                  wire.JobKind(f.job.Spec.Kind),
		// Always that of the machine that works: restic knows by it whose locks are stale.
		ResticHost: ref.ResticHost(),
		Repository: repository,
		Bandwidth:  compile.Bandwidth(f.host),
	}
	if f.target.Name != f.host.Name {
		command.TargetHost = f.target.Name
	}
	if err := addPart(command, f); err != nil {
		return nil, err
	}
	return command, encodable(*command)
}

// repositoryOf is the target's, by the URL of whoever comes at it.
func repositoryOf(f facts, with access) (wire.Repository, error) {
	repository := compile.Repository(f.target)
	repository.Credential = with.credential
	if with.secret == "" {
		return repository, nil
	}
	if f.credential == nil {
		return wire.Repository{}, fmt.Errorf("the credentials in Secret %q were not read", with.secret)
	}
	if f.credential.err != nil {
		return wire.Repository{}, f.credential.err
	}
	if f.target.Name != f.host.Name && maintenance.OnMachine(f.target) && f.credential.url == repository.URL {
		return wire.Repository{}, onAnotherMachine(f)
	}
	if f.credential.url != repository.URL {
		repository.URL, repository.SameAs = f.credential.url, repository.URL
	}
	return repository, nil
}

// addPart adds what belongs to the kind.
func addPart(command *wire.JobCommand, f facts) error {
	spec := &f.job.Spec
	switch spec.Kind {
	case v1alpha1.HostJobBackup:
		command.Backup, command.Hooks = new(compile.Group(f.group)), compile.Hooks(f.host.Spec.Hooks)
	case v1alpha1.HostJobRestore:
		command.Restore = restore(spec.Restore, f.group, command.Host)
	case v1alpha1.HostJobForget:
		groups, findings := compile.ForgetGroups(f.sharing, f.groups, f.job.GroupName())
		if len(groups) == 0 {
			return nothingToForget(f, findings)
		}
		command.Forget = &wire.Forget{Groups: groups}
	case v1alpha1.HostJobPrune:
		command.Prune = &wire.Prune{}
		if p := spec.Prune; p != nil {
			command.Prune.MaxUnused, command.Prune.MaxRepackSize = p.MaxUnused, p.MaxRepackSize
		}
	case v1alpha1.HostJobCheck:
		command.Check = &wire.Check{}
		if c := spec.Check; c != nil {
			command.Check.ReadDataSubset = c.ReadDataSubset
		}
	case v1alpha1.HostJobVerify:
		groups := compile.VerifyGroups(f.host, f.groups, f.job.GroupName())
		if len(groups) == 0 {
			return nothingToVerify(f)
		}
		command.Verify = &wire.Verify{Groups: groups, Sample: defaultSample}
		if v := spec.Verify; v != nil && v.Sample != 0 {
			command.Verify.Sample = int(v.Sample)
		}
	}
	return nil
}

// nothingToForget names what was left out, or what is missing.
func nothingToForget(f facts, findings []compile.Finding) error {
	if len(findings) > 0 {
		const shown = 3
		var parts []string
		for _, finding := range findings[:min(shown, len(findings))] {
			parts = append(parts, finding.String())
		}
		if more := len(findings) - shown; more > 0 {
			parts = append(parts, fmt.Sprintf("and %d more", more))
		}
		return f.refuse(v1alpha1.ReasonNothingToDo, "nothing can be forgotten: %s", strings.Join(parts, "; "))
	}
	if name := f.job.GroupName(); name != "" {
		if f.group.Spec.Retention == nil {
			return f.refuse(v1alpha1.ReasonNothingToDo, "spec.forget.sourceGroup: SourceGroup %q has no spec.retention, so all its snapshots are kept: say there what to keep", name)
		}
		return f.refuse(v1alpha1.ReasonNothingToDo, "spec.forget.sourceGroup: SourceGroup %q is for no Host of this repository: name another group", name)
	}
	return f.refuse(v1alpha1.ReasonNothingToDo,
		"no SourceGroup of the Hosts in the repository of Host %q has a spec.retention, so all snapshots are kept: say in a SourceGroup what to keep", f.target.Name)
}

func nothingToVerify(f facts) error {
	if name := f.job.GroupName(); name != "" {
		return f.refuse(v1alpha1.ReasonNothingToDo, "spec.verify.sourceGroup: SourceGroup %q is not for Host %q, or not valid: name another group", name, f.host.Name)
	}
	return f.refuse(v1alpha1.ReasonNothingToDo, "no valid SourceGroup is for Host %q, so there are no snapshots to restore from: create one", f.host.Name)
}

// encodable finds out now what would be found when it is signed.
func encodable(command wire.JobCommand) error {
	if name := command.Repository.Credential; name != wire.CredentialRepository {
		command.Credentials = []wire.CredentialHash{{Name: name, SHA256: strings.Repeat("0", 64)}}
	}
	if _, err := wire.EncodeDocument(&command); err != nil {
		return status.Stalled(v1alpha1.ReasonInvalid, "the job cannot be given to a machine: %w", err)
	}
	return nil
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
	if spec.Latest() {
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
