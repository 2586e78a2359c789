package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
)

// slowBackup prepares a host whose backup takes some seconds: an upload limit, and data that does not compress.
func (w *world) slowBackup(uploadKBps int32) {
	w.Helper()
	host := w.host("one", func(h *v1alpha1.Host, _ *corev1Secret) {
		h.Spec.Bandwidth = &v1alpha1.Bandwidth{UploadKBps: uploadKBps}
	})
	dir := w.files(host.Name, "a")
	noise := make([]byte, 24<<20)
	random, err := os.Open("/dev/urandom")
	w.must(err)
	defer random.Close()
	_, err = random.Read(noise)
	w.must(err)
	w.must(os.WriteFile(filepath.Join(dir, "noise"), noise, 0o644))
	w.group("data", host.Name, dir)
}

// running starts a backup and waits until restic uploads.
func (w *world) running(name string) {
	w.Helper()
	w.backup(name, "one", "data")
	w.phase(name, v1alpha1.JobRunning)
	w.eventually("progress of "+name, func(ctx context.Context) error {
		job, err := get(ctx, w, name, &v1alpha1.HostJob{})
		if err != nil {
			return err
		}
		if job.Status.Progress == nil {
			return fmt.Errorf("no progress yet, phase %s", job.Status.Phase)
		}
		return nil
	})
}

// once checks that a finished job was told exactly once.
func (w *world) once(host, reason string, name string) {
	w.Helper()
	w.eventually("one Event "+reason+" of "+name, func(ctx context.Context) error {
		found, err := w.events(ctx, reason)
		if err != nil {
			return err
		}
		if len(found) != 1 {
			return fmt.Errorf("found %d: %+v", len(found), found)
		}
		return nil
	})
	set := w.restic(w.mustHost(host), w.repositoryPassword(host), "snapshots", "--json")
	if got := strings.Count(set, `"short_id"`); got != 1 {
		w.Errorf("the repository holds %d snapshots, want 1", got)
	}
}

func TestABackupGoesOnWhileTheControlPlaneIsKilled(t *testing.T) {
	tests := map[string]func(*world){
		"the gateway": func(w *world) {
			w.must(w.Replicas[0].Kill())
			w.must(w.Replicas[0].Start(w.Context()))
		},
		"the controllers": func(w *world) {
			w.must(w.Controller.Kill())
			w.must(w.Controller.Start(w.Context()))
		},
	}
	for name, kill := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "kill")
			w.slowBackup(2048)
			w.agent("one")
			w.settled("one")
			w.running("backup")
			kill(w)
			job := w.phase("backup", v1alpha1.JobSucceeded)
			w.result("one", "data", "the job's", func(r v1alpha1.SourceGroupResult) bool {
				return r.JobID == wire.CommandID(string(job.UID)) && r.Result == v1alpha1.ResultSucceeded
			})
			w.once("one", v1alpha1.EventBackupSucceeded, "backup")
			w.hostCondition("one", v1alpha1.ConditionConnected, metav1.ConditionTrue)
		})
	}
}

func TestAnAgentThatIsKilledReportsTheJobFailedAndLeavesNoRestic(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "kill-agent")
	w.slowBackup(2048)
	agent := w.agent("one")
	w.settled("one")
	w.running("backup")
	children := childrenOf(t, agent.PID())
	if len(children) == 0 {
		t.Fatal("no restic runs below the agent: the test proves nothing")
	}
	w.must(agent.Kill())
	w.eventually("restic to die with the agent", func(context.Context) error {
		for _, pid := range children {
			if name := commandName(pid); strings.Contains(name, "restic") {
				return fmt.Errorf("process %d (%s) lives", pid, name)
			}
		}
		return nil
	})
	w.must(agent.Start(t.Context()))
	job := w.phase("backup", v1alpha1.JobFailed)
	if job.Status.Result.Reason != string(wire.ReasonAgentRestarted) {
		t.Errorf("result is %+v, want reason AgentRestarted", job.Status.Result)
	}
	w.must(w.change(w.mustHost("one"), func() {}))
	w.backup("next", "one", "data")
	w.phase("next", v1alpha1.JobSucceeded)
	w.once("one", v1alpha1.EventBackupSucceeded, "next")
}

func TestACancelledJobStopsResticAndIsNotAFailureOfTheGroup(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "cancel")
	w.slowBackup(2048)
	agent := w.agent("one")
	w.settled("one")
	w.running("backup")
	job, err := get(t.Context(), w, "backup", &v1alpha1.HostJob{})
	w.must(err)
	w.must(w.change(job, func() { job.Spec.Cancel = true }))
	w.phase("backup", v1alpha1.JobCancelled)
	if left := childrenOf(t, agent.PID()); len(left) != 0 {
		t.Errorf("processes %v are left below the agent", left)
	}
	w.backup("next", "one", "data")
	w.phase("next", v1alpha1.JobSucceeded)
	result := w.result("one", "data", "of next", func(r v1alpha1.SourceGroupResult) bool { return r.Result == v1alpha1.ResultSucceeded })
	if result.ConsecutiveFailures != 0 {
		t.Errorf("consecutiveFailures is %d, want 0", result.ConsecutiveFailures)
	}
}

// childrenOf lists the processes whose parent is pid.
func childrenOf(t *testing.T, pid int) []int {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	var children []int
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		// pid (name) state ppid …
		fields := strings.Fields(string(raw[strings.LastIndexByte(string(raw), ')')+1:]))
		if len(fields) > 1 && fields[0] != "Z" && fields[1] == strconv.Itoa(pid) {
			child, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			if err != nil {
				t.Fatal(err)
			}
			children = append(children, child)
		}
	}
	return children
}

func commandName(pid int) string {
	raw, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/comm")
	return strings.TrimSpace(string(raw))
}
