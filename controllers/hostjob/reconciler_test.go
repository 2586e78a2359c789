package hostjob

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire/seal"
	"github.com/restic-manager/restic-manager/controllers/internal/selecting"
	"github.com/restic-manager/restic-manager/test/env"
)

func TestNewJobIsSignedOwnedAndThenLeftAlone(t *testing.T) {
	f := newFixture(t)
	j := f.create(nil)
	result := f.reconcile(j)
	if j.Status.Phase != v1alpha1.JobPending || j.Status.Command == nil {
		t.Fatalf("phase %q, command %v, expected Pending with a command", j.Status.Phase, j.Status.Command)
	}
	if err := seal.Verify(j.Status.Command.Document, signatures(t, j.Status.Command), f.signer.PublicKeys()); err != nil {
		t.Errorf("the command: %v", err)
	}
	if got := ownerUID(j); got != f.host.UID {
		t.Errorf("owned by %q, expected the Host %q", got, f.host.UID)
	}
	expectConditions(t, j, map[string]string{"Ready": "True WaitingForHost", "Reconciling": "True InProgress"})
	expires := j.CreationTimestamp.Add(time.Hour)
	if again := f.clock.Now().Add(result.RequeueAfter); !again.Equal(expires) {
		t.Errorf("looks again at %s, expected when it expires, %s", again, expires)
	}
	version := j.ResourceVersion
	f.reconcile(j)
	if j.ResourceVersion != version {
		t.Error("a second reconciliation wrote, although nothing had changed")
	}
}

func TestPendingCommandFollowsTheHost(t *testing.T) {
	f := newFixture(t)
	j := f.create(nil)
	f.reconcile(j)
	before := j.Status.Command.Document
	f.host.Spec.Repository.URL = "rest:https://other.example.com/web-1"
	if err := f.client.Update(t.Context(), f.host); err != nil {
		t.Fatal(err)
	}
	f.reconcile(j)
	if j.Status.Command.Document == before {
		t.Error("the command is for the earlier repository")
	}
	if err := seal.Verify(j.Status.Command.Document, signatures(t, j.Status.Command), f.signer.PublicKeys()); err != nil {
		t.Error(err)
	}
}

func TestJobExpiresOnlyFromPending(t *testing.T) {
	f := newFixture(t)
	late, dispatched := f.create(nil), f.create(nil)
	f.reconcile(late)
	f.reconcile(dispatched)
	f.asGateway(dispatched, func(s *v1alpha1.HostJobStatus) { s.Phase = v1alpha1.JobDispatched })
	f.clock.SetTime(f.clock.Now().Add(2 * time.Hour))
	f.reconcile(late)
	f.reconcile(dispatched)
	if late.Status.Phase != v1alpha1.JobExpired || late.Status.Command != nil || late.Status.CompletionTime == nil {
		t.Errorf("phase %q, command %v, completionTime %v, expected Expired with its time and without a command", late.Status.Phase, late.Status.Command, late.Status.CompletionTime)
	}
	expectConditions(t, late, map[string]string{"Ready": "False Expired", "Failed": "True Expired", "Stalled": "True Expired"})
	if dispatched.Status.Phase != v1alpha1.JobDispatched {
		t.Errorf("the dispatched job is %s", dispatched.Status.Phase)
	}
	expectConditions(t, dispatched, map[string]string{"Ready": "False NoReport", "Reconciling": "True InProgress"}) // its minute is long over
	f.asGateway(dispatched, func(s *v1alpha1.HostJobStatus) { s.Phase = v1alpha1.JobSucceeded })
	f.reconcile(dispatched)
	expectConditions(t, dispatched, map[string]string{"Ready": "True Succeeded", "Complete": "True Succeeded"})
}

func TestJobThatTheGatewayTookMeanwhileIsNotCancelledBehindItsBack(t *testing.T) {
	f := newFixture(t)
	j := f.create(nil)
	f.reconcile(j)
	j.Spec.Cancel = true
	if err := f.client.Update(t.Context(), j); err != nil {
		t.Fatal(err)
	}
	taken := false
	r := f.reconciler()
	r.Client = interceptor.NewClient(indexed(f.client), interceptor.Funcs{
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, patch client.Patch, opts ...client.SubResourcePatchOption) error {
			if !taken {
				taken = true
				f.asGateway(j, func(s *v1alpha1.HostJobStatus) { s.Phase = v1alpha1.JobDispatched })
			}
			return c.SubResource(sub).Patch(ctx, o, patch, opts...)
		},
	})
	result, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(j)})
	if err != nil || result.RequeueAfter != conflictDelay {
		t.Fatalf("got %v, %v, expected to look again soon", result, err)
	}
	f.reconcile(j)
	if j.Status.Phase != v1alpha1.JobDispatched || j.Status.CancelCommand == nil {
		t.Fatalf("phase %s, cancelCommand %v, expected Dispatched with a signed cancellation", j.Status.Phase, j.Status.CancelCommand)
	}
	if err := seal.Verify(j.Status.CancelCommand.Document, signatures(t, j.Status.CancelCommand), f.signer.PublicKeys()); err != nil {
		t.Errorf("the cancellation: %v", err)
	}
}

func TestResultBecomesConditions(t *testing.T) {
	f := newFixture(t)
	for _, test := range []struct {
		phase   v1alpha1.HostJobPhase
		result  *v1alpha1.JobResultStatus
		want    map[string]string
		message string
	}{
		{v1alpha1.JobSucceeded, &v1alpha1.JobResultStatus{Message: "10 files"}, map[string]string{"Ready": "True Succeeded", "Complete": "True Succeeded"}, "10 files"},
		{v1alpha1.JobCompletedWithErrors, &v1alpha1.JobResultStatus{Reason: "Unreadable", Message: "2 files could not be read"},
			map[string]string{"Ready": "False CompletedWithErrors", "Failed": "True CompletedWithErrors", "Stalled": "True CompletedWithErrors"}, "Unreadable: 2 files could not be read"},
		{v1alpha1.JobFailed, &v1alpha1.JobResultStatus{Reason: "WrongPassword", Message: "the password does not open the repository"},
			map[string]string{"Ready": "False Failed", "Failed": "True Failed", "Stalled": "True Failed"}, "WrongPassword: the password does not open the repository"},
		{v1alpha1.JobCancelled, nil, map[string]string{"Ready": "False Cancelled", "Failed": "True Cancelled", "Stalled": "True Cancelled"}, "the machine gave no cause"},
	} {
		t.Run(string(test.phase), func(t *testing.T) {
			j := f.create(nil)
			f.reconcile(j)
			f.asGateway(j, func(s *v1alpha1.HostJobStatus) {
				s.Phase, s.Result, s.CompletionTime = test.phase, test.result, new(metav1.NewTime(f.clock.Now()))
			})
			f.reconcile(j)
			expectConditions(t, j, test.want)
			if got := meta.FindStatusCondition(j.Status.Conditions, "Ready").Message; got != test.message {
				t.Errorf("message %q, expected %q", got, test.message)
			}
			version := j.ResourceVersion
			f.reconcile(j)
			if j.ResourceVersion != version {
				t.Error("a second reconciliation wrote, although nothing had changed")
			}
		})
	}
}

func TestFinishedJobIsDeletedAfterItsTime(t *testing.T) {
	f := newFixture(t)
	j := f.create(func(j *v1alpha1.HostJob) { j.Spec.TTLSecondsAfterFinished = new(int32(60)) })
	f.reconcile(j)
	f.asGateway(j, func(s *v1alpha1.HostJobStatus) {
		s.Phase, s.CompletionTime = v1alpha1.JobSucceeded, new(metav1.NewTime(f.clock.Now().Truncate(time.Second)))
	})
	if result := f.reconcile(j); result.RequeueAfter <= 0 || result.RequeueAfter > time.Minute {
		t.Errorf("looks again after %s, expected when the TTL has passed", result.RequeueAfter)
	}
	f.clock.SetTime(f.clock.Now().Add(61 * time.Second))
	if _, err := f.reconciler().Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(j)}); err != nil {
		t.Fatal(err)
	}
	if err := f.client.Get(t.Context(), client.ObjectKeyFromObject(j), j); !apierrors.IsNotFound(err) {
		t.Errorf("got %v, expected that the job is gone", err)
	}
}

func TestJobGoesWithItsHost(t *testing.T) {
	f := newFixture(t)
	j := f.create(nil)
	f.reconcile(j)
	if err := f.client.Delete(t.Context(), f.host); err != nil {
		t.Fatal(err)
	}
	env.Eventually(t, time.Minute, "the job is collected", func(ctx context.Context) error {
		if err := f.client.Get(ctx, client.ObjectKeyFromObject(j), j); !apierrors.IsNotFound(err) {
			return fmt.Errorf("got %v, expected NotFound", err)
		}
		return nil
	})
}

func TestWaitingJobsFollowTheObjectsThatTheyName(t *testing.T) {
	f := newFixture(t)
	mgr, err := ctrl.NewManager(f.controllersConfig(), ctrl.Options{
		Scheme: f.client.Scheme(), Metrics: metricsserver.Options{BindAddress: "0"}, Controller: config.Controller{SkipNameValidation: new(true)},
	})
	if err != nil {
		t.Fatal(err)
	}
	r := f.reconciler()
	r.Client, r.Live = mgr.GetClient(), mgr.GetAPIReader()
	if err := selecting.AddIndexes(t.Context(), mgr.GetFieldIndexer()); err != nil {
		t.Fatal(err)
	}
	if err := r.SetupWithManager(mgr); err != nil {
		t.Fatal(err)
	}
	go func() {
		if err := mgr.Start(t.Context()); err != nil && t.Context().Err() == nil {
			t.Errorf("the manager ended: %v", err)
		}
	}()
	early := f.create(func(j *v1alpha1.HostJob) { j.Spec.HostRef.Name = "web-2"; j.Spec.Backup.SourceGroup = "home" })
	ready := func(want string) {
		t.Helper()
		env.Eventually(t, 30*time.Second, "Ready is "+want, func(ctx context.Context) error {
			if err := f.client.Get(ctx, client.ObjectKeyFromObject(early), early); err != nil {
				return err
			}
			if got := conditions(early)["Ready"]; got != want {
				return errors.New("Ready is " + got)
			}
			return nil
		})
	}
	ready("False HostNotFound")
	host := f.host.DeepCopy()
	host.ObjectMeta = metav1.ObjectMeta{Name: "web-2", Namespace: f.namespace}
	identity := host.Spec.Identity
	host.Spec.Identity = nil
	if err := f.client.Create(t.Context(), host); err != nil {
		t.Fatal(err)
	}
	ready("False NotEnrolled")
	host.Spec.Identity = identity
	if err := f.client.Update(t.Context(), host); err != nil {
		t.Fatal(err)
	}
	ready("False SourceGroupNotFound")
	group := testGroup()
	group.ObjectMeta = metav1.ObjectMeta{Name: "home", Namespace: f.namespace}
	if err := f.client.Create(t.Context(), group); err != nil {
		t.Fatal(err)
	}
	ready("False NoSharedHost")
	host.Labels = map[string]string{"role": "web"}
	if err := f.client.Update(t.Context(), host); err != nil {
		t.Fatal(err)
	}
	ready("True WaitingForHost")
	if early.Status.Command == nil {
		t.Error("no command")
	}
	f.asGateway(early, func(s *v1alpha1.HostJobStatus) { s.Phase = v1alpha1.JobRunning })
	ready("True InProgress")
}
