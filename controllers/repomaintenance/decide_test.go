package repomaintenance

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	testingclock "k8s.io/utils/clock/testing"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/controllers/maintenance"
)

func webHost(name string, edits ...func(*v1alpha1.Host)) *v1alpha1.Host {
	h := &v1alpha1.Host{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, Labels: map[string]string{"role": "web"}}}
	h.Spec.Repository.URL = "rest:https://backup.example.com/" + name
	for _, edit := range edits {
		edit(h)
	}
	return h
}

func lastRun(o maintenance.Operation, result v1alpha1.JobResult, message string) func(*v1alpha1.Host) {
	return func(h *v1alpha1.Host) {
		if h.Status.Maintenance == nil {
			h.Status.Maintenance = &v1alpha1.MaintenanceStatus{}
		}
		*o.StatusOf(h.Status.Maintenance) = &v1alpha1.OperationStatus{Result: result, Message: message, FinishTime: new(metav1.Now())}
	}
}

// seenBy gathers as the reconciler does. The RepoMaintenance itself is among the others.
func seenBy(m *v1alpha1.RepoMaintenance, hosts []*v1alpha1.Host, others ...*v1alpha1.RepoMaintenance) facts {
	all := []v1alpha1.RepoMaintenance{*m}
	for _, o := range others {
		all = append(all, *o)
	}
	seen := facts{sharing: map[string][]*v1alpha1.Host{}, index: maintenance.NewIndex(all)}
	for _, h := range hosts {
		seen.sharing[maintenance.Key(h)] = append(seen.sharing[maintenance.Key(h)], h)
		if len(maintenance.Selected(m, []v1alpha1.Host{*h})) > 0 {
			seen.hosts = append(seen.hosts, h)
		}
	}
	return seen
}

// named is a RepoMaintenance that was made so many hours ago.
func named(name string, age time.Duration, edits ...func(*v1alpha1.RepoMaintenanceSpec)) *v1alpha1.RepoMaintenance {
	m := everything(name, edits...)
	m.Namespace, m.UID, m.Generation, m.CreationTimestamp = "shop", types.UID(name), 2, metav1.NewTime(time.Now().Add(-age*time.Hour))
	return m
}

func onlyVerify(spec *v1alpha1.RepoMaintenanceSpec) {
	spec.Forget, spec.Prune, spec.Check = nil, nil, nil
}
func byName(host string) func(*v1alpha1.RepoMaintenanceSpec) {
	return func(spec *v1alpha1.RepoMaintenanceSpec) {
		spec.Selector = v1alpha1.Selector{HostRef: &v1alpha1.LocalReference{Name: host}}
	}
}

func list[T any](items ...T) []T { return items }

func TestStatus(t *testing.T) {
	many := func(n int) []*v1alpha1.Host {
		var hosts []*v1alpha1.Host
		for i := range n {
			hosts = append(hosts, webHost(fmt.Sprintf("web-%02d", i)))
		}
		return hosts
	}
	failedForget := lastRun(maintenance.Forget, v1alpha1.ResultFailed, "locked")
	shared := withURL("rest:https://backup.example.com/shared")
	for _, test := range []struct {
		name   string
		m      *v1alpha1.RepoMaintenance
		hosts  []*v1alpha1.Host
		others []*v1alpha1.RepoMaintenance
		counts string
		ready  string // "Status Reason: message" of each condition; empty for absent
		bound  string
		health string
	}{
		{"one that is in force is ready", named("a", 1), list(webHost("web-1", withAdmin)), nil, "1 1 0",
			"True Accepted: in force for 1 repository of 1 Host", "True AllBound: prune has the credentials that it needs on 1 repository", "Unknown NothingRunYet: nothing was run yet"},
		{"for no Host it is accepted", named("a", 1), nil, nil, "0 0 0", "True NoHostMatches: accepted; it is for no Host", "", "Unknown NothingRunYet: nothing was run yet"},
		{"a Host that is missing is named", named("a", 1, byName("web-9")), nil, nil, "0 0 0", `False HostNotFound: spec.hostRef: there is no Host "web-9" in this namespace: create it, or name another one`, "", "Unknown NothingRunYet: nothing was run yet"},
		{"a suspended one says so", named("a", 1, onlyForget, func(s *v1alpha1.RepoMaintenanceSpec) { s.Suspend = true }), list(webHost("web-1")), nil, "1 1 0",
			"True Suspended: in force for 1 repository of 1 Host; nothing is run while spec.suspend is true", "", "Unknown NothingRunYet: nothing was run yet"},
		{"an invalid one is stalled", named("a", 1, onlyForget, func(s *v1alpha1.RepoMaintenanceSpec) { s.TimeZone = "Mars" }), list(webHost("web-1")), nil, "1 0 0",
			`False Invalid: spec.timeZone: timeZone "Mars" is not known: write an IANA name such as Europe/Zurich, or UTC`, "", "Unknown NothingRunYet: nothing was run yet"},
		{"one for a Host for which another one counts names it", named("b", 1, byName("web-1")), list(webHost("web-1")), list(named("a", 2)), "1 0 0",
			`False Overridden: for all Hosts that it selects (web-1) RepoMaintenance "a" counts: of several, those with an executorRef come first, then the oldest that people made. Delete the other one, or name another Host`, "", "Unknown NothingRunYet: nothing was run yet"},
		{"one for many of which none is left to it is accepted", named("b", 1), list(webHost("web-1")), list(named("a", 2, byName("web-1"))), "1 0 0",
			`True Overridden: accepted; nothing is left for it: for all Hosts that it selects (web-1) RepoMaintenance "a" counts: of several, those with an executorRef come first, then the oldest that people made`, "", "Unknown NothingRunYet: nothing was run yet"},
		{"one that is overridden in part works for the rest", named("b", 1, onlyForget), list(webHost("web-1"), webHost("web-2")), list(named("a", 2, byName("web-1"))), "2 1 0",
			"True Accepted: in force for 1 repository of 1 Host; for web-1 a counts", "", "Unknown NothingRunYet: nothing was run yet"},
		{"hosts that share a repository count once", named("a", 1, onlyForget), list(webHost("web-1", shared), webHost("web-2", shared)), nil, "2 1 0",
			"True Accepted: in force for 1 repository of 2 Hosts", "", "Unknown NothingRunYet: nothing was run yet"},
		{"at most ten hosts without admin credentials are named", named("a", 1), many(12), nil, "12 12 0", "True Accepted: in force for 12 repositories of 12 Hosts",
			"False NoAdminCredentials: prune is skipped for 12 repositories: set spec.repository.adminCredentialsSecretRef of web-00, web-01, web-02, web-03, web-04, web-05, web-06, web-07, web-08, web-09 and 2 more",
			"Unknown NothingRunYet: nothing was run yet"},
		{"one host with admin credentials is enough for a shared repository", named("a", 1), list(webHost("web-1", shared), webHost("web-2", shared, withAdmin)), nil, "2 1 0",
			"True Accepted: in force for 1 repository of 2 Hosts", "True AllBound: prune has the credentials that it needs on 1 repository", "Unknown NothingRunYet: nothing was run yet"},
		{"a success is healthy", named("a", 1, onlyForget), list(webHost("web-1", lastRun(maintenance.Forget, v1alpha1.ResultSucceeded, ""))), nil, "1 1 0",
			"True Accepted: in force for 1 repository of 1 Host", "", "True AllSucceeded: the last run of each operation succeeded on 1 repository"},
		{"a cancelled run is no failure", named("a", 1, onlyForget), list(webHost("web-1", lastRun(maintenance.Forget, v1alpha1.ResultCancelled, ""))), nil, "1 1 0",
			"True Accepted: in force for 1 repository of 1 Host", "", "True AllSucceeded: the last run of each operation succeeded on 1 repository"},
		{"a repository in which two operations fail counts once", named("a", 1), list(webHost("web-1", withAdmin, failedForget, lastRun(maintenance.Verify, v1alpha1.ResultFailed, "1 file differs")), webHost("web-2", withAdmin)), nil, "2 2 1",
			"True Accepted: in force for 2 repositories of 2 Hosts", "True AllBound: prune has the credentials that it needs on 2 repositories",
			"False OperationsFailing: the last run failed on 1 of 2 repositories: web-1: verify: 1 file differs; web-1: forget: locked"},
		{"at most three failures are quoted", named("a", 1, onlyForget), list(webHost("web-1", failedForget), webHost("web-2", failedForget), webHost("web-3", failedForget), webHost("web-4", failedForget), webHost("web-5", failedForget)), nil, "5 5 5",
			"True Accepted: in force for 5 repositories of 5 Hosts", "",
			"False OperationsFailing: the last run failed on 5 of 5 repositories: web-1: forget: locked; web-2: forget: locked; web-3: forget: locked; and 2 more"},
		{"the failure of what it does not ask for is not its own", named("a", 1, onlyVerify), list(webHost("web-1", failedForget)), nil, "1 1 0",
			"True Accepted: in force for 1 repository of 1 Host", "", "Unknown NothingRunYet: nothing was run yet"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_ = decide(test.m, seenBy(test.m, test.hosts, test.others...), testingclock.NewFakePassiveClock(time.Now()))
			s := &test.m.Status
			if got := fmt.Sprintf("%d %d %d", s.HostsMatched, s.Repositories, s.Failing); got != test.counts {
				t.Errorf("hosts, repositories and failing are %s, expected %s", got, test.counts)
			}
			for kind, want := range map[string]string{v1alpha1.ConditionReady: test.ready, v1alpha1.ConditionAdminCredentialsBound: test.bound, v1alpha1.ConditionHealthy: test.health} {
				got := ""
				if c := meta.FindStatusCondition(s.Conditions, kind); c != nil {
					got = fmt.Sprintf("%s %s: %s", c.Status, c.Reason, c.Message)
				}
				if got != want {
					t.Errorf("%s\ngot  %s\nwant %s", kind, got, want)
				}
			}
			if stalled := meta.IsStatusConditionTrue(s.Conditions, v1alpha1.ConditionStalled); stalled != strings.Contains(test.ready, "Invalid") {
				t.Errorf("stalled is %v", stalled)
			}
		})
	}
}
