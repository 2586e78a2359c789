package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
)

func TestAResultWaitsForAnAPIServerThatIsAway(t *testing.T) {
	w := newWorld(t, "api-outage")
	w.slowBackup(2048)
	agent := w.agent("one")
	w.settled("one")
	w.running("backup")
	w.must(w.CP.StopAPIServer())
	w.Cleanup(func() {
		if !w.CP.Running() {
			w.must(w.CP.StartAPIServer(context.Background()))
		}
		w.startController() // it ends when it loses its Lease, and is started again by a kubelet
	})
	w.eventually("the backup to end while the API server is away", func(context.Context) error {
		raw, err := os.ReadFile(w.LogFile(agent.Name))
		if err != nil {
			return err
		}
		if !strings.Contains(string(raw), "kind=Backup outcome=Succeeded") {
			return errors.New("it runs")
		}
		return nil
	})
	w.must(w.CP.StartAPIServer(t.Context()))
	w.startController()
	job := w.phase("backup", v1alpha1.JobSucceeded)
	w.result("one", "data", "the job's", func(r v1alpha1.SourceGroupResult) bool {
		return r.JobID == wire.CommandID(string(job.UID)) && r.Result == v1alpha1.ResultSucceeded
	})
	w.once("one", v1alpha1.EventBackupSucceeded, "backup")
}

func TestABackupWaitsForARepositoryThatIsAwayAndSaysSo(t *testing.T) {
	w := newWorld(t, "repo-outage")
	w.slowBackup(2048)
	// A rest-server that was killed between storing a file and saying so makes the attempt fail; the next one goes well.
	w.agentWith("one", "--retry-backoff=2s,2s")
	w.settled("one")
	w.running("backup")
	w.must(w.Rest.Kill())
	w.Cleanup(func() {
		if w.Rest.PID() == 0 {
			w.must(w.Rest.Start(context.Background()))
		}
	})
	w.eventually("retrying in the progress", func(ctx context.Context) error {
		job, err := get(ctx, w, "backup", &v1alpha1.HostJob{})
		if err != nil {
			return err
		}
		if job.Status.Progress == nil || job.Status.Progress.Retrying == "" {
			return fmt.Errorf("phase is %s, progress %+v", job.Status.Phase, job.Status.Progress)
		}
		return nil
	})
	w.hostCondition("one", v1alpha1.ConditionRepositoryReady, metav1.ConditionFalse, v1alpha1.ReasonRetrying)
	w.must(w.Rest.Start(t.Context()))
	w.phase("backup", v1alpha1.JobSucceeded)
	w.hostCondition("one", v1alpha1.ConditionRepositoryReady, metav1.ConditionTrue)
	w.once("one", v1alpha1.EventBackupSucceeded, "backup")
}
