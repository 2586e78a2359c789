package fleet

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/test/stack"
	"github.com/restic-manager/restic-manager/test/swarm"
)

const (
	// late is how many simulated agents get a Schedule of every minute, which they do not follow.
	late = 5
	// moved is how many change their role.
	moved = 20
)

// result lets every fiftieth backup fail, and another one complete with errors.
func result(j swarm.Job) swarm.Result {
	switch i := j.Agent.Index(); {
	case i%50 == 7:
		return swarm.Failed(wire.ReasonUnreachable, "The repository cannot be reached.")
	case i%50 == 9:
		return swarm.CompletedWithErrors("/data/locked")
	default:
		return swarm.Succeeded()
	}
}

// unwell counts, of the agents in a range, those whose backups do not succeed.
func unwell(from, to int) (n int) {
	for i := from; i < to; i++ {
		if i%50 == 7 || i%50 == 9 {
			n++
		}
	}
	return n
}

func TestTheLifeOfAFleet(t *testing.T) {
	w := newWorld(t, swarm.Behaviour{Job: result})
	source := filepath.Join(w.Dir, "machines", "data")
	broken := group("broken", "web", "/broken")
	broken.Spec.Bandwidth = &v1alpha1.Bandwidth{TimeZone: "Mars/Olympus", Windows: []v1alpha1.BandwidthWindow{{From: "08:00", To: "18:00", UploadKBps: 1}}}
	// Beside the webhook, which would refuse it: what is wrong may be older than the webhook.
	w.create(group("data", "web", source), group("db", "db", "/var/lib/db"))
	w.createUnchecked(broken)
	w.create(schedule("nightly", rarely, "data", "broken"), schedule("nightly-db", rarely, "db"))

	w.must(w.agents.Create(t.Context(), w.Client))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	w.must(w.agents.Published(ctx, w.Client))
	w.agents.Start()
	names := w.realAgents(source)
	all := w.agents.Agents()
	w.wait("all simulated agents have applied their set", all, swarm.All(swarm.Connected, swarm.Applied))

	t.Run("one object serves many hosts, and a bad group hurts no other", func(t *testing.T) {
		w.groupIs("data", "in force on all web Hosts", func(s *v1alpha1.SourceGroupStatus) bool {
			return s.HostsMatched == web+real && s.HostsApplied == web+real && s.HostsNeverRan == web+real
		})
		w.groupIs("broken", "stalled", func(s *v1alpha1.SourceGroupStatus) bool {
			return isTrue(s.Conditions, v1alpha1.ConditionStalled) && s.HostsMatched == 0
		})
		w.scheduleIs("nightly", "in force all the same", func(s *v1alpha1.ScheduleStatus) bool {
			return s.HostsMatched == web+real && s.HostsApplied == web+real && isTrue(s.Conditions, v1alpha1.ConditionReady)
		})
		for _, a := range all[:web] {
			if groups := a.Set().Groups; len(groups) != 1 || groups[0].Name != "data" {
				t.Fatalf("%s has groups %+v", a, groups)
			}
		}
	})

	t.Run("a label moves hosts between schedules, and costs nobody else anything", func(t *testing.T) {
		w.quiet()
		mark := w.mark()
		for _, a := range all[:moved] {
			w.relabel(a.Name(), "role", "db")
		}
		w.wait("the moved agents run the other schedule", all[:moved], swarm.All(swarm.Runs("nightly-db"), func(a *swarm.Agent) bool { return !swarm.Runs("nightly")(a) }))
		w.groupIs("db", "grown", func(s *v1alpha1.SourceGroupStatus) bool {
			return s.HostsMatched == simulated-web+moved && s.HostsApplied == s.HostsMatched
		})
		w.groupIs("data", "shrunk", func(s *v1alpha1.SourceGroupStatus) bool {
			return s.HostsMatched == web-moved+real && s.HostsApplied == s.HostsMatched
		})
		w.quiet()
		got := w.writes(mark)
		t.Logf("%d Hosts that move cost\n%s", moved, got)
		if got.Of("schedulesets") != moved || got.Of("schedulesets/status") != moved {
			t.Errorf("%d sets and %d acks were written, want %d of each", got.Of("schedulesets"), got.Of("schedulesets/status"), moved)
		}
		if n := got.Of("sourcegroups/status") + got.Of("schedules/status"); n > 40 {
			t.Errorf("the summaries of two groups and two schedules were written %d times", n)
		}
		for _, a := range all[:moved] {
			w.relabel(a.Name(), "role", "web")
		}
		w.groupIs("data", "whole again", func(s *v1alpha1.SourceGroupStatus) bool {
			return s.HostsMatched == web+real && s.HostsApplied == s.HostsMatched
		})
	})

	t.Run("three hundred results arrive, and the summaries are right and cheap", func(t *testing.T) {
		w.quiet()
		mark := w.mark()
		began := time.Now()
		const nominal = "2028-02-29T03:00"
		if n := w.agents.Fire("nightly", "data", nominal); n != web {
			t.Fatalf("%d agents fire data, want %d", n, web)
		}
		if n := w.agents.Fire("nightly-db", "db", nominal); n != simulated-web {
			t.Fatalf("%d agents fire db, want %d", n, simulated-web)
		}
		for _, name := range names {
			job := &v1alpha1.HostJob{ObjectMeta: metav1.ObjectMeta{Name: "backup-" + name}}
			job.Spec = v1alpha1.HostJobSpec{HostRef: v1alpha1.LocalReference{Name: name}, Kind: v1alpha1.HostJobBackup, Backup: &v1alpha1.BackupJob{SourceGroup: "data"}}
			w.create(job)
		}
		w.wait("every report is stored", all, swarm.Idle)
		badWeb, badDB := unwell(0, web), unwell(web, simulated)
		w.groupIs("data", "summed up", func(s *v1alpha1.SourceGroupStatus) bool {
			return int(s.HostsSucceeded) == web+real-badWeb && int(s.HostsFailing) == badWeb && s.HostsNeverRan == 0 && s.OldestSuccessTime != nil && len(s.FailingHosts) == badWeb
		})
		w.groupIs("db", "summed up", func(s *v1alpha1.SourceGroupStatus) bool {
			return int(s.HostsSucceeded) == simulated-web-badDB && int(s.HostsFailing) == badDB && s.HostsNeverRan == 0
		})
		w.scheduleIs("nightly", "summed up", func(s *v1alpha1.ScheduleStatus) bool {
			return int(s.HostsSucceeded) == web+real-badWeb && int(s.HostsFailing) == badWeb && s.HostsOverdue == 0
		})
		took := time.Since(began)
		w.quiet()
		got := w.writes(mark)
		t.Logf("%d results in %s cost\n%s", simulated+real, took.Round(time.Millisecond), got)
		// One at once, and then one every five seconds.
		bound := 3 + int(took/(5*time.Second))
		for _, object := range []string{"sourcegroups/status", "schedules/status"} {
			if got.Of(object) > 2*bound {
				t.Errorf("two objects of %s were written %d times, want at most %d each", object, got.Of(object), bound)
			}
		}
		sum := 0
		for what, n := range got {
			if !strings.HasPrefix(what.Resource, "hostjobs") { // what people asked for has a record of its own
				sum += n
			}
		}
		// Each: an Event, its Host's status twice (the result, and when it runs next), and a share of the summaries. A first result also ends the wait for it.
		if limit := 3*(simulated+real) + 8*bound; sum > limit {
			t.Errorf("%d results cost %d writes, want at most %d", simulated+real, sum, limit)
		}
	})

	t.Run("what falls overdue is told once, everywhere, and recovers", func(t *testing.T) {
		often := schedule("often", "* * * * *", "data")
		often.Spec.HostSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"tier": "gold"}}
		w.create(often)
		w.wait("the late ones have the schedule", all[:late], swarm.Runs("often"))
		s := w.scheduleIs("often", "overdue on all of its Hosts", func(s *v1alpha1.ScheduleStatus) bool {
			return s.HostsOverdue == late && isFalse(s.Conditions, v1alpha1.ConditionBackupsCurrent)
		})
		if len(s.Status.OverdueHosts) != late || !slices.Contains(s.Status.OverdueHosts, all[0].Name()) {
			t.Errorf("overdueHosts are %q", s.Status.OverdueHosts)
		}
		w.groupIs("data", "overdue on them", func(s *v1alpha1.SourceGroupStatus) bool { return s.HostsOverdue == late })
		w.hostIs(all[0].Name(), func(h *v1alpha1.Host) bool {
			c := meta.FindStatusCondition(h.Status.Conditions, v1alpha1.ConditionBackupsCurrent)
			return c != nil && c.Status == metav1.ConditionFalse && c.Reason == v1alpha1.ReasonOverdue && len(h.Status.Overdue) == 1 && h.Status.Overdue[0].Schedule == "often"
		})
		w.alert("ResticManagerBackupOverdue", late)

		// Controllers that start anew find them overdue, and tell nobody again: see the Events at the end.
		w.restartController()
		w.quiet()

		// Suspended, nothing is expected, and nobody is late for what fell due meanwhile.
		w.suspend("often", true)
		w.scheduleIs("often", "suspended", func(s *v1alpha1.ScheduleStatus) bool {
			c := meta.FindStatusCondition(s.Conditions, v1alpha1.ConditionBackupsCurrent)
			return s.HostsOverdue == 0 && c != nil && c.Reason == v1alpha1.ReasonSuspended
		})
		w.suspend("often", false)
		w.scheduleIs("often", "overdue anew", func(s *v1alpha1.ScheduleStatus) bool { return s.HostsOverdue == late })
		for _, a := range all[:late] {
			w.must(a.Fire("often", "data", time.Now().UTC().Format(wire.NominalLayout)))
		}
		w.scheduleIs("often", "recovered", func(s *v1alpha1.ScheduleStatus) bool { return s.HostsOverdue == 0 })
		w.must(w.Delete(t.Context(), often))
		w.groupIs("data", "recovered", func(s *v1alpha1.SourceGroupStatus) bool {
			return s.HostsOverdue == 0 && isTrue(s.Conditions, v1alpha1.ConditionBackupsCurrent)
		})
		w.eventually("one Event per Host and turn", func(ctx context.Context) error {
			turns, err := stack.Turns(ctx, w.Client, w.ns)
			if err != nil {
				return err
			}
			for _, a := range all[:late] {
				if told := turns[a.Name()]; len(told) < 4 || told[len(told)-1] != v1alpha1.EventBackupsRecovered {
					return fmt.Errorf("Host %s has the Events %q, want overdue and recovered twice", a.Name(), told)
				}
			}
			return nil
		})
	})

	t.Run("alert rules fire on the real series of what keeps failing", func(t *testing.T) {
		w.agents.Fire("nightly", "data", "2032-02-29T03:00")
		w.wait("every report is stored", all, swarm.Idle)
		// Of those that fail each time; completed with errors wrote a snapshot.
		failing := 0
		for i := range web {
			if i%50 == 7 {
				failing++
			}
		}
		w.alert("ResticManagerBackupFailing", failing)
	})

	t.Run("a namespace goes with everything in it", func(t *testing.T) {
		began := time.Now()
		w.must(w.Delete(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.ns}}))
		w.eventually("the namespace is gone", func(ctx context.Context) error {
			ns := &corev1.Namespace{}
			err := w.Get(ctx, client.ObjectKey{Name: w.ns}, ns)
			if apierrors.IsNotFound(err) {
				return nil
			}
			return fmt.Errorf("it is there: %w, conditions %+v", err, ns.Status.Conditions)
		})
		t.Logf("a namespace with %d Hosts was gone after %s", simulated+real, time.Since(began).Round(time.Millisecond))
		w.wait("no agent holds a session any more", all, func(a *swarm.Agent) bool { return !a.Connected() })
		raw, err := os.ReadFile(w.LogFile("controller"))
		w.must(err)
		for line := range strings.Lines(string(raw)) {
			if strings.Contains(line, `"level":"ERROR"`) {
				t.Errorf("the controllers' log has an error: %s", line)
			}
		}
	})
}
