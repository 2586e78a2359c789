package gitops

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/test/env"
)

// waitLines are the lines of the documentation that wait for something, by page.
func waitLines(t *testing.T) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	for page, text := range readPages(t) {
		for _, block := range blocks(text, "sh") {
			for line := range strings.Lines(block) {
				command, _, _ := strings.Cut(line, " #")
				if strings.HasPrefix(line, "kubectl ") && slices.Contains(strings.Fields(command), "wait") {
					found[page] = append(found[page], strings.TrimSpace(line))
				}
			}
		}
	}
	return found
}

// sh runs a line of the documentation in the test's namespace.
func (s *space) sh(ctx context.Context, line string) error {
	kubectl, err := env.Binary("", env.Kubectl)
	if err != nil {
		return err
	}
	bin := filepath.Dir(kubectl)
	line = strings.ReplaceAll(line, "-n shop", "-n "+s.namespace)
	ctx, cancel := context.WithTimeout(ctx, 2*patience) // whatever the line itself says
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", "exec "+line)
	cmd.Env = []string{"KUBECONFIG=" + s.cp.AdminKubeconfig, "HOME=" + s.cp.Dir, "PATH=" + bin + ":" + os.Getenv("PATH"), "job=hostjob.backup.restic-manager.io/done"}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", line, err, out)
	}
	return nil
}

var object = regexp.MustCompile(`\b(host|hostjob|schedule|sourcegroup|repomaintenance)/([a-z0-9-]+)`)

// farewell waits for machines to be told that they were removed.
const farewell = "--for=delete schedulesets"

// Where all is well, every line that people may copy comes to its end.
func TestWaitingAsDocumented(t *testing.T) {
	s := startOperator(t).space(t)
	pages := waitLines(t)
	var farewells []string
	lines := 0
	names := map[string]map[string]bool{"hostjob": {"done": true}}
	for _, page := range pages {
		for _, line := range page {
			lines++
			for _, match := range object.FindAllStringSubmatch(line, -1) {
				if names[match[1]] == nil {
					names[match[1]] = map[string]bool{}
				}
				names[match[1]][match[2]] = !strings.Contains(line, "--for=delete")
			}
		}
	}
	if lines < 15 {
		t.Fatalf("%d lines were found, expected more: does the pattern still find them?", lines)
	}
	s.thrive(names)
	for page, some := range pages {
		t.Run(page, func(t *testing.T) {
			for _, line := range some {
				if strings.Contains(line, farewell) {
					farewells = append(farewells, line)
					continue
				}
				if err := s.sh(t.Context(), line); err != nil {
					t.Error(err)
				}
			}
		})
	}
	if len(farewells) == 0 {
		t.Fatal("no line waits for machines that are removed: does the pattern still find it?")
	}
	if _, err := s.cp.Kubectl(t.Context(), "-n", s.namespace, "delete", "hosts.backup.restic-manager.io", "--all"); err != nil {
		t.Fatal(err)
	}
	for host, there := range names["host"] {
		if there {
			s.ackTombstone(host)
		}
	}
	for _, line := range farewells {
		if err := s.sh(t.Context(), line); err != nil {
			t.Error(err)
		}
	}
}

// ackTombstone says that a removed machine has its tombstone.
func (s *space) ackTombstone(host string) {
	s.t.Helper()
	env.Eventually(s.t, patience, "the set of "+host+" becomes a tombstone", func(ctx context.Context) error {
		set := &v1alpha1.ScheduleSet{}
		if err := s.admin.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: host}, set); err != nil || set.Spec.Tombstone {
			return err
		}
		return fmt.Errorf("it has the revision %s", set.Spec.Revision)
	})
	report(s, host, &v1alpha1.ScheduleSet{}, func(set *v1alpha1.ScheduleSet) { set.Status.AppliedRevision = set.Spec.Revision })
}

// thrive makes a fleet in which everything works. Names that are false do not exist.
func (s *space) thrive(names map[string]map[string]bool) {
	s.t.Helper()
	var groups, schedules []string
	for name, there := range names["sourcegroup"] {
		if there {
			s.create(newGroup(name))
			groups = append(groups, name)
		}
	}
	for name, there := range names["schedule"] {
		if there {
			s.create(newSchedule(name, func(spec *v1alpha1.ScheduleSpec) { spec.SourceGroups = groups }))
			schedules = append(schedules, name)
		}
	}
	var hosts []string
	for name, there := range names["host"] {
		if there {
			s.create(newHost(name, enrolled(s.t)))
			hosts = append(hosts, name)
		}
	}
	for name, there := range names["repomaintenance"] {
		if there {
			s.create(newMaintenance(name, forHost(name)))
		}
	}
	for name, there := range names["hostjob"] {
		if there {
			s.create(newJob(name))
			s.phase(name, v1alpha1.JobSucceeded)
		}
	}
	for _, host := range hosts {
		env.Eventually(s.t, patience, "its set holds everything", func(ctx context.Context) error {
			u, err := s.object(ctx, "ScheduleSet", host)
			if err != nil {
				return err
			}
			spec, _ := u.Object["spec"].(map[string]any)
			if text := fmt.Sprint(spec["groups"], spec["schedules"]); !containsAll(text, append(schedules, groups...)) {
				return fmt.Errorf("it holds %s", text)
			}
			return nil
		})
		s.connect(host)
		s.repository(host, "Ready", "")
		now := metav1.NewTime(s.clock.Now())
		report(s, host, &v1alpha1.Host{}, func(h *v1alpha1.Host) {
			h.Status.LastSuccessTime = &now
			if h.Status.Maintenance == nil {
				h.Status.Maintenance = &v1alpha1.MaintenanceStatus{}
			}
			h.Status.Maintenance.Check = &v1alpha1.OperationStatus{Result: v1alpha1.ResultSucceeded, FinishTime: &now, LastSuccessTime: &now}
			for _, group := range groups {
				h.Status.SourceGroups = append(h.Status.SourceGroups, v1alpha1.SourceGroupResult{Name: group, JobID: "1", Result: v1alpha1.ResultSucceeded, FinishTime: &now, LastSuccessTime: &now})
			}
		})
	}
}

func containsAll(text string, words []string) bool {
	return !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(text, word) })
}

// What is not so is not waited for with success: --timeout=0 asks once.
func TestWaitingForWhatIsNotSo(t *testing.T) {
	s := startOperator(t).space(t)
	s.create(newHost("web-1", enrolled(t)), newHost("web-2", withSecret("none")), newJob("failed"))
	s.connect("web-1")
	s.disconnect("web-1")
	s.phase("failed", v1alpha1.JobFailed)
	s.until("the job has failed", newJob("failed"), told{"Failed": "True Failed"})
	s.until("the machine is gone", newHost("web-1"), told{"Connected": "False Disconnected"})
	s.until("the other one waits", newHost("web-2"), told{"Ready": "False CredentialsMissing"})
	for _, test := range []struct {
		name, what string
		want       bool
	}{
		{"a Host whose machine is gone is ready", "host/web-1 --for=condition=Ready", true},
		{"and not connected", "host/web-1 --for=condition=Connected", false},
		{"a Host without its Secret is not ready", "host/web-2 --for=condition=Ready", false},
		{"and is not stalled", "host/web-2 --for=condition=Stalled", false},
		{"a job that failed is never complete", "hostjob/failed --for=condition=Complete", false},
		{"it has failed", "hostjob/failed --for=condition=Failed", true},
		{"which nothing can heal", "hostjob/failed --for=condition=Stalled", true},
		{"it has ended", "hostjob/failed --for='jsonpath={.status.completionTime}'", true},
		{"it does not go on", "hostjob/failed --for=condition=Reconciling", false},
		{"with another phase than that of success", "hostjob/failed --for='jsonpath={.status.phase}=Succeeded'", false},
		{"what is gone is deleted", "host/web-3 --for=delete", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := s.sh(t.Context(), "kubectl -n shop wait "+test.what+" --timeout=0")
			if (err == nil) != test.want {
				t.Errorf("waiting for %s: %v, expected that it succeeds: %v", test.what, err, test.want)
			}
		})
	}
}
