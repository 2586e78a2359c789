package agentgateway

import (
	"context"
	"encoding/base64"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/restic-manager/restic-manager/agentgateway/internal/testagent"
	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func TestAPruneTravelsWithItsCredentialsAndTellsWhatItDid(t *testing.T) {
	w := newWorld(t)
	w.publish("r1", nil)
	gw := w.start("gw-1")
	w.ready(gw, "r1")
	link := w.at(gw).Connect(t, 1)
	testagent.Expect[*wire.SetOffer](link)

	job := &v1alpha1.HostJob{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "prune"},
		Spec: v1alpha1.HostJobSpec{HostRef: v1alpha1.LocalReference{Name: w.host.Name}, Kind: v1alpha1.HostJobPrune}}
	w.create(job)
	job.Status.Phase = v1alpha1.JobPending
	job.Status.Command = document(`{"credentials":[{"name":"admin","sha256":"0"}]}`)
	w.updateStatus(job)
	w.job("later") // its command comes next, so that of the prune was not sent
	if run := testagent.Expect[*wire.CommandRun](link); run.Command != "run later" || len(run.Credentials) != 0 {
		t.Errorf("command is %+v", run)
	}
	if got := w.getJob("prune").Status; got.Phase != v1alpha1.JobPending {
		t.Errorf("phase without credentials is %s", got.Phase)
	}
	job = w.getJob("prune")
	job.Status.Credentials = []v1alpha1.SealedCredential{{Name: wire.CredentialAdmin, Sealed: base64.StdEncoding.EncodeToString([]byte("sealed for web-1"))}}
	w.updateStatus(job)
	run := testagent.Expect[*wire.CommandRun](link)
	if run.JobID != wire.CommandID(string(job.UID)) || len(run.Credentials) != 1 || string(run.Credentials[0].Sealed) != "sealed for web-1" {
		t.Errorf("command is %+v", run)
	}

	done := &wire.JobFinished{Report: wire.ReportID{Epoch: "epoch-1", Seq: 1}, Outcome: wire.OutcomeSucceeded, FinishedAt: time.Now(), Attempts: 2,
		Job:   wire.JobRef{JobID: run.JobID, Kind: wire.JobPrune, HostJob: "prune", HostJobUID: string(job.UID)},
		Prune: &wire.PruneSummary{BytesFreed: 5}}
	stats := &wire.RepoStats{Report: wire.ReportID{Epoch: "epoch-1", Seq: 2}, URL: "rest:https://backup.example.com/web-1",
		Stats: wire.RepositoryStats{Time: time.Now(), ListedTime: time.Now(), Snapshots: 7}}
	for _, report := range []wire.Report{done, stats} {
		link.Send(report)
		if ack := testagent.Expect[*wire.ReportAck](link); ack.Report != report.ID() || ack.Discarded {
			t.Errorf("ack is %+v", ack)
		}
	}
	got := w.getJob("prune").Status
	if diff := cmp.Diff(&v1alpha1.JobResultStatus{Attempts: 2, Prune: &v1alpha1.PruneSummary{BytesFreed: 5}}, got.Result); diff != "" || got.Phase != v1alpha1.JobSucceeded {
		t.Errorf("phase %s, result %s", got.Phase, diff)
	}
	if r := w.getHost().Status.Repository; r == nil || r.Stats == nil || r.Stats.Snapshots != 7 {
		t.Errorf("repository is %+v", r)
	}
	w.eventually("the replica forgets the credentials of a finished job", func(ctx context.Context) error {
		var cached v1alpha1.HostJob
		if err := gw.cluster.GetCache().Get(ctx, client.ObjectKeyFromObject(job), &cached); err != nil {
			return err
		}
		if cached.Status.Credentials != nil || cached.Status.Command != nil {
			return fmt.Errorf("it holds %+v", cached.Status)
		}
		return nil
	})
}
