package repomaintenance

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/utils/clock"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/controllers/maintenance"
	"github.com/restic-manager/restic-manager/controllers/status"
)

// maxNames bounds the hosts that a message names, maxFailures those whose failure it quotes.
const (
	maxNames    = 10
	maxFailures = 3
)

// facts are what a RepoMaintenance's status follows from.
type facts struct {
	hosts    []*v1alpha1.Host            // that it selects, by name
	sharing  map[string][]*v1alpha1.Host // by maintenance.Key: with those that share a repository with one of them
	index    *maintenance.Index          // of all RepoMaintenances that select one of these
	executor *v1alpha1.Host              // nil: none is named, or there is none
	running  int                         // HostJobs of it that have not ended
}

// findings are what the repositories of a RepoMaintenance add up to.
type findings struct {
	mine       map[string]bool // by maintenance.Key: repositories on which it runs something
	failing    map[string]bool // those of them in which the last run of something failed
	ran        bool
	failures   []string // "Host: operation: message"
	unbound    []string // hosts whose repository cannot be pruned
	overridden []string // hosts for which others count
	by         []string // and which
}

// decide fills the status in. The error is what keeps the object from being Ready.
func decide(m *v1alpha1.RepoMaintenance, seen facts, clk clock.PassiveClock) error {
	found := look(m, seen)
	m.Status.ObservedGeneration = m.Generation
	m.Status.HostsMatched = int32(len(seen.hosts))
	m.Status.Repositories = int32(len(found.mine))
	m.Status.Failing = int32(len(found.failing))
	m.Status.Running = int32(seen.running)

	set := status.For(&m.Status.Conditions, m.Generation, clk)
	err := refusal(m, seen, found)
	reason, message := accepted(m, seen, found)
	set.Ready(err, reason, message)
	setAdminBound(set, m, found)
	setHealthy(set, m, seen, found)
	return err
}

// look goes through the repositories of the selected hosts.
func look(m *v1alpha1.RepoMaintenance, seen facts) findings {
	found := findings{mine: map[string]bool{}, failing: map[string]bool{}}
	looked := map[string]bool{}
	for _, host := range seen.hosts {
		key := maintenance.Key(host)
		switch own := seen.index.InForce(host); {
		case is(own, m):
			found.operation(m, key, host, host, maintenance.Verify)
		case own != nil:
			found.overridden = append(found.overridden, host.Name)
			if !slices.Contains(found.by, own.Name) {
				found.by = append(found.by, own.Name)
			}
		}
		if !looked[key] {
			looked[key] = true
			found.repository(m, key, seen)
		}
	}
	return found
}

// repository looks at what is done once for all hosts of a repository, if it is this RepoMaintenance that counts for it.
func (f *findings) repository(m *v1alpha1.RepoMaintenance, key string, seen facts) {
	sharing := seen.sharing[key]
	through, inForce := seen.index.InForceForRepository(sharing)
	if !is(inForce, m) {
		return
	}
	for _, o := range []maintenance.Operation{maintenance.Forget, maintenance.Prune, maintenance.Check} {
		f.operation(m, key, maintenance.Anchor(sharing), through, o)
	}
	if m.Spec.Prune != nil && !maintenance.AdminBound(sharing, through, m) {
		f.unbound = append(f.unbound, through.Name)
	}
}

// operation looks at the last run of an operation, if it is asked for; holder has the record, named is named for it.
func (f *findings) operation(m *v1alpha1.RepoMaintenance, key string, holder, named *v1alpha1.Host, o maintenance.Operation) {
	if o.CadenceOf(&m.Spec) == nil {
		return
	}
	f.mine[key] = true
	record := maintenance.Recorded(holder, o)
	if record == nil || record.FinishTime == nil {
		return
	}
	f.ran = true
	if maintenance.Failing(record) {
		f.failing[key] = true
		f.failures = append(f.failures, fmt.Sprintf("%s: %s: %s", named.Name, o, record.Message))
	}
}

func is(a, b *v1alpha1.RepoMaintenance) bool { return a != nil && a.UID == b.UID && a.Name == b.Name }

// refusal is what keeps it from being acted on.
func refusal(m *v1alpha1.RepoMaintenance, seen facts, found findings) error {
	if err := maintenance.CheckSpec(&m.Spec); err != nil {
		return status.Stalled(v1alpha1.ReasonInvalid, "%w", err)
	}
	if ref := m.Spec.ExecutorRef; ref != nil && seen.executor == nil {
		return status.Waiting(v1alpha1.ReasonExecutorNotFound, 0, "spec.executorRef: there is no Host %q in this namespace: create it, or name another one. "+
			"Until then nothing but verify is run", ref.Name)
	}
	ref := m.Spec.HostRef
	switch {
	case ref == nil: // one for many: that nothing is left for it is as well as that no Host matches
	case len(seen.hosts) == 0:
		return status.Waiting(v1alpha1.ReasonHostNotFound, 0, "spec.hostRef: there is no Host %q in this namespace: create it, or name another one", ref.Name)
	case overridden(seen, found):
		return status.Waiting(v1alpha1.ReasonOverridden, 0, "%s. Delete the other one, or name another Host", overriddenBy(found))
	}
	return nil
}

// overridden tells whether nothing is left for it to do.
func overridden(seen facts, found findings) bool {
	return len(seen.hosts) > 0 && len(found.overridden) == len(seen.hosts) && len(found.mine) == 0
}

func overriddenBy(found findings) string {
	return fmt.Sprintf("for all Hosts that it selects (%s) RepoMaintenance %q counts: of several, those with an executorRef come first, then the oldest that people made",
		names(found.overridden), names(found.by))
}

// accepted is the reason and message of Ready=True.
func accepted(m *v1alpha1.RepoMaintenance, seen facts, found findings) (reason, message string) {
	reason, message = v1alpha1.ReasonAccepted, fmt.Sprintf("in force for %s of %s", repositoriesIn(len(found.mine)), status.Hosts(len(seen.hosts)-len(found.overridden)))
	switch {
	case len(seen.hosts) == 0:
		return v1alpha1.ReasonNoHostMatches, "accepted; it is for no Host"
	case overridden(seen, found):
		return v1alpha1.ReasonOverridden, "accepted; nothing is left for it: " + overriddenBy(found)
	case m.Spec.Suspend:
		reason, message = v1alpha1.ReasonSuspended, message+"; nothing is run while spec.suspend is true"
	}
	if len(found.overridden) > 0 {
		message += fmt.Sprintf("; for %s %s counts", names(found.overridden), names(found.by))
	}
	return reason, message
}

func setAdminBound(set *status.Setter, m *v1alpha1.RepoMaintenance, found findings) {
	switch {
	case m.Spec.Prune == nil || len(found.mine) == 0:
		set.Remove(v1alpha1.ConditionAdminCredentialsBound)
	case len(found.unbound) > 0:
		set.False(v1alpha1.ConditionAdminCredentialsBound, v1alpha1.ReasonNoAdminCredentials, "prune is skipped for %s: set spec.repository.adminCredentialsSecretRef of %s",
			repositoriesIn(len(found.unbound)), names(found.unbound))
	default:
		set.True(v1alpha1.ConditionAdminCredentialsBound, v1alpha1.ReasonAllBound, "prune has the credentials that it needs on %s", repositoriesIn(len(found.mine)))
	}
}

func setHealthy(set *status.Setter, m *v1alpha1.RepoMaintenance, seen facts, found findings) {
	switch {
	case len(found.failing) > 0:
		quoted := found.failures[:min(len(found.failures), maxFailures)]
		more := ""
		if left := len(found.failures) - len(quoted); left > 0 {
			more = fmt.Sprintf("; and %d more", left)
		}
		set.False(v1alpha1.ConditionHealthy, v1alpha1.ReasonOperationsFailing, "the last run failed on %d of %s: %s%s",
			len(found.failing), repositoriesIn(len(found.mine)), strings.Join(quoted, "; "), more)
	case seen.executor != nil && !meta.IsStatusConditionTrue(seen.executor.Status.Conditions, v1alpha1.ConditionConnected) && len(found.mine) > 0:
		set.False(v1alpha1.ConditionHealthy, v1alpha1.ReasonExecutorNotConnected, "spec.executorRef: Host %q is not connected: what is due is run when it is back", seen.executor.Name)
	case !found.ran:
		set.Unknown(v1alpha1.ConditionHealthy, v1alpha1.ReasonNothingRunYet, "nothing was run yet")
	default:
		set.True(v1alpha1.ConditionHealthy, v1alpha1.ReasonAllSucceeded, "the last run of each operation succeeded on %s", repositoriesIn(len(found.mine)))
	}
}

func repositoriesIn(n int) string {
	if n == 1 {
		return "1 repository"
	}
	return fmt.Sprintf("%d repositories", n)
}

// names lists at most maxNames, and counts the others.
func names(all []string) string {
	if len(all) > maxNames {
		return fmt.Sprintf("%s and %d more", strings.Join(all[:maxNames], ", "), len(all)-maxNames)
	}
	return strings.Join(all, ", ")
}
