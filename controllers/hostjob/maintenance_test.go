package hostjob

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/log"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/api/wire/seal"
	"github.com/restic-manager/restic-manager/controllers/internal/convert"
	"github.com/restic-manager/restic-manager/controllers/internal/selecting"
	"github.com/restic-manager/restic-manager/test/env"
)

const (
	adminPassword    = "may-delete-7f3a"
	ordinaryPassword = "may-append-91bc"
)

// withAdmin gives web-1 its two Secrets.
func (f *fixture) withAdmin() *corev1.Secret {
	f.t.Helper()
	f.createSecret("web-1-repo", map[string]string{"RESTIC_PASSWORD": ordinaryPassword})
	admin := f.createSecret("web-1-admin", map[string]string{"RESTIC_PASSWORD": adminPassword, "RESTIC_REPOSITORY": adminURL})
	f.host.Spec.Repository.AdminCredentialsSecretRef = &v1alpha1.LocalReference{Name: admin.Name}
	f.update(f.host)
	return admin
}

func (f *fixture) createSecret(name string, data map[string]string) *corev1.Secret {
	f.t.Helper()
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: name, Labels: map[string]string{v1alpha1.LabelCredentials: "true"}}, StringData: data}
	if err := f.client.Create(f.t.Context(), secret); err != nil {
		f.t.Fatal(err)
	}
	return secret
}

func (f *fixture) update(object client.Object) {
	f.t.Helper()
	if err := f.client.Update(f.t.Context(), object); err != nil {
		f.t.Fatal(err)
	}
}

// enrolled is another Host, with the key that opens what is sealed to it.
func (f *fixture) enrolled(name string) (*v1alpha1.Host, []byte) {
	f.t.Helper()
	host := testHost()
	host.ObjectMeta = metav1.ObjectMeta{Name: name, Namespace: f.namespace}
	host.Spec.Repository = v1alpha1.Repository{URL: "/srv/" + name, CredentialsSecretRef: &v1alpha1.LocalReference{Name: name}}
	var private []byte
	private, host.Spec.Identity.SealingKey = newSealingKey(f.t)
	if err := f.client.Create(f.t.Context(), host); err != nil {
		f.t.Fatal(err)
	}
	return host, private
}

// maintain names an executor for web-1.
func (f *fixture) maintain(executor string) *v1alpha1.RepoMaintenance {
	f.t.Helper()
	m := &v1alpha1.RepoMaintenance{ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: "web-1"}}
	m.Spec.HostRef = &v1alpha1.LocalReference{Name: "web-1"}
	m.Spec.ExecutorRef = &v1alpha1.LocalReference{Name: executor}
	m.Spec.Check = &v1alpha1.CheckCadence{Cadence: v1alpha1.Cadence{Cron: "@monthly"}}
	if err := f.client.Create(f.t.Context(), m); err != nil {
		f.t.Fatal(err)
	}
	return m
}

func (f *fixture) createKind(kind v1alpha1.HostJobKind, host, target string) *v1alpha1.HostJob {
	f.t.Helper()
	return f.create(func(j *v1alpha1.HostJob) {
		j.Spec = job(kind).Spec
		j.Spec.HostRef.Name = host
		if target != "" {
			j.Spec.TargetRef = &v1alpha1.LocalReference{Name: target}
		}
	})
}

// open opens the one credential in a job's status as a machine does: it must be the one whose hash is signed.
func (f *fixture) open(j *v1alpha1.HostJob, host *v1alpha1.Host, private []byte) (wire.Credential, error) {
	f.t.Helper()
	if err := seal.Verify(j.Status.Command.Document, signatures(f.t, j.Status.Command), f.signer.PublicKeys()); err != nil {
		f.t.Fatalf("the command: %v", err)
	}
	command, err := wire.ParseJobCommand(j.Status.Command.Document)
	if err != nil {
		f.t.Fatal(err)
	}
	if len(j.Status.Credentials) != 1 || len(command.Credentials) != 1 {
		f.t.Fatalf("%d credentials, and hashes of %d, expected one", len(j.Status.Credentials), len(command.Credentials))
	}
	raw, err := base64.StdEncoding.DecodeString(j.Status.Credentials[0].Sealed)
	if err != nil {
		f.t.Fatal(err)
	}
	name := j.Status.Credentials[0].Name
	if command.Credentials[0].SHA256 != seal.Hash(raw) || command.Credentials[0].Name != name || command.Repository.Credential != name {
		f.t.Fatalf("the command names %+v and goes with %q; %q travels", command.Credentials, command.Repository.Credential, name)
	}
	identity, err := convert.Identity(host.Spec.Identity)
	if err != nil {
		f.t.Fatal(err)
	}
	return seal.OpenCredential(convert.Ref(host), identity.Hash(), private, wire.SealedCredential{Name: name, Sealed: raw})
}

func (f *fixture) expectNoPlaintext(j *v1alpha1.HostJob) {
	f.t.Helper()
	raw, err := json.Marshal(j)
	if err != nil {
		f.t.Fatal(err)
	}
	for _, password := range []string{adminPassword, ordinaryPassword} {
		for _, form := range []string{password, base64.StdEncoding.EncodeToString([]byte(password))} {
			if strings.Contains(string(raw), form) {
				f.t.Errorf("the HostJob holds a password in the clear: %s", raw)
			}
		}
	}
}

func TestAdminCredentialsGoToTheExecutorAlone(t *testing.T) {
	f := newFixture(t)
	f.withAdmin()
	vault, vaultKey := f.enrolled("vault")
	f.maintain("vault")
	j := f.createKind(v1alpha1.HostJobPrune, "vault", "web-1")
	var logged strings.Builder
	sink := funcr.New(func(prefix, args string) { logged.WriteString(prefix + args + "\n") }, funcr.Options{Verbosity: 10})
	if _, err := f.reconciler().Reconcile(log.IntoContext(t.Context(), sink), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(j)}); err != nil {
		t.Fatal(err)
	}
	f.read(j)
	expectConditions(t, j, map[string]string{"Ready": "True WaitingForHost", "Reconciling": "True InProgress"})
	opened, err := f.open(j, vault, vaultKey)
	if err != nil || opened.Environment["RESTIC_PASSWORD"] != adminPassword || len(opened.Environment) != 1 {
		t.Errorf("the executor opens %d variables, %v", len(opened.Environment), err)
	}
	if _, err := f.open(j, f.host, f.private); err == nil {
		t.Error("the machine itself opens the admin credentials too")
	}
	command, err := wire.ParseJobCommand(j.Status.Command.Document)
	if err != nil || command.Repository.URL != adminURL || command.Repository.SameAs != f.host.Spec.Repository.URL || command.TargetHost != "web-1" {
		t.Errorf("the command is for %+v of %q, %v", command.Repository, command.TargetHost, err)
	}
	f.expectNoPlaintext(j)
	if strings.Contains(logged.String(), adminPassword) {
		t.Errorf("the log holds the password: %s", logged.String())
	}
	version := j.ResourceVersion
	f.reconcile(j)
	if j.ResourceVersion != version {
		t.Error("a second reconciliation wrote, although nothing had changed: each sealing is another")
	}
}

func TestNobodyButTheExecutorGetsAnything(t *testing.T) {
	for _, kind := range []v1alpha1.HostJobKind{v1alpha1.HostJobForget, v1alpha1.HostJobPrune, v1alpha1.HostJobCheck, v1alpha1.HostJobUnlock} {
		for _, executor := range []string{"", "vault"} {
			t.Run(fmt.Sprintf("%s while the executor is %q", kind, executor), func(t *testing.T) {
				f := newFixture(t)
				f.withAdmin()
				f.enrolled("mine")
				f.enrolled("vault")
				if executor != "" {
					f.maintain(executor)
				}
				j := f.createKind(kind, "mine", "web-1")
				f.reconcile(j)
				if j.Status.Command != nil || j.Status.Credentials != nil || j.Status.Phase != v1alpha1.JobPending {
					t.Errorf("phase %s, command %v, %d credentials", j.Status.Phase, j.Status.Command, len(j.Status.Credentials))
				}
				f.clock.SetTime(f.clock.Now().Add(time.Minute))
				f.reconcile(j)
				expectConditions(t, j, map[string]string{"Ready": "False Failed", "Failed": "True Failed", "Stalled": "True Failed"})
				if j.Status.Command != nil || j.Status.Credentials != nil || j.Status.CredentialsDigest != "" {
					t.Errorf("command %v, %d credentials", j.Status.Command, len(j.Status.Credentials))
				}
				f.expectNoPlaintext(j)
				select {
				case event := <-f.recorder.Events:
					if !strings.Contains(event, "Warning Failed") || !strings.Contains(event, "spec.targetRef") || strings.Contains(event, adminPassword) {
						t.Errorf("event %q", event)
					}
				default:
					t.Error("no Event tells that the job was ended")
				}
			})
		}
	}
}

func TestAnExecutorThatIsNamedMeanwhileTakesTheCredentialsFromTheMachine(t *testing.T) {
	f := newFixture(t)
	f.withAdmin()
	j := f.createKind(v1alpha1.HostJobPrune, "web-1", "")
	f.reconcile(j)
	if opened, err := f.open(j, f.host, f.private); err != nil || opened.Environment["RESTIC_PASSWORD"] != adminPassword {
		t.Fatalf("without an executor the machine opens %d variables, %v", len(opened.Environment), err)
	}
	f.enrolled("vault")
	f.maintain("vault")
	f.clock.SetTime(f.clock.Now().Add(time.Minute))
	f.reconcile(j)
	if j.Status.Phase != v1alpha1.JobFailed || j.Status.Credentials != nil || j.Status.Command != nil || j.Status.CredentialsDigest != "" {
		t.Errorf("phase %s, command %v, %d credentials", j.Status.Phase, j.Status.Command, len(j.Status.Credentials))
	}
	if got := meta.FindStatusCondition(j.Status.Conditions, "Ready").Message; !strings.Contains(got, "hostRef: vault and targetRef: web-1") {
		t.Errorf("message %q", got)
	}
}

func TestCredentialsFollowTheSecretAndTheMachine(t *testing.T) {
	f := newFixture(t)
	admin := f.withAdmin()
	j := f.createKind(v1alpha1.HostJobPrune, "web-1", "")
	f.reconcile(j)
	before := j.Status.DeepCopy()

	admin.Data["RESTIC_PASSWORD"] = []byte(adminPassword + "-rotated")
	f.update(admin)
	f.reconcile(j)
	if opened, err := f.open(j, f.host, f.private); err != nil || opened.Environment["RESTIC_PASSWORD"] != adminPassword+"-rotated" {
		t.Errorf("after the rotation the machine opens %d variables, %v", len(opened.Environment), err)
	}
	if j.Status.CredentialsDigest == before.CredentialsDigest || j.Status.Command.Document == before.Command.Document {
		t.Error("the digest or the command is that of the earlier Secret")
	}

	f.private, f.host.Spec.Identity.SealingKey = newSealingKey(t)
	f.update(f.host)
	f.reconcile(j)
	if _, err := f.open(j, f.host, f.private); err != nil {
		t.Errorf("the machine that was enrolled anew: %v", err)
	}

	admin.Data["RESTIC_REPOSITORY"] = []byte("rest:https://u:p@backup.example.com/")
	f.update(admin)
	f.reconcile(j)
	expectConditions(t, j, map[string]string{"Ready": "False CredentialsInvalid", "Reconciling": "True InProgress"})
	if j.Status.Command != nil || j.Status.Credentials != nil || j.Status.CredentialsDigest != "" {
		t.Errorf("an invalid Secret leaves command %v and %d credentials", j.Status.Command, len(j.Status.Credentials))
	}
	if got := meta.FindStatusCondition(j.Status.Conditions, "Ready").Message; !strings.Contains(got, `Host "web-1": Secret "web-1-admin" holds a RESTIC_REPOSITORY`) {
		t.Errorf("message %q", got)
	}
}

// A gateway may write the status. What it puts there is never signed.
func TestForeignCredentialsAreReplacedAndNeverSigned(t *testing.T) {
	for name, tamper := range map[string]func(f *fixture, s *v1alpha1.HostJobStatus){
		"another blob": func(f *fixture, s *v1alpha1.HostJobStatus) {
			identity, _ := convert.Identity(f.host.Spec.Identity)
			sealed, err := seal.SealCredential(convert.Ref(f.host), *identity, "admin", wire.Credential{Environment: map[string]string{"RESTIC_PASSWORD": "foreign"}})
			if err != nil {
				f.t.Fatal(err)
			}
			s.Credentials[0].Sealed = base64.StdEncoding.EncodeToString(sealed.Sealed)
		},
		"another blob with a command that names it": func(f *fixture, s *v1alpha1.HostJobStatus) {
			identity, _ := convert.Identity(f.host.Spec.Identity)
			sealed, err := seal.SealCredential(convert.Ref(f.host), *identity, "admin", wire.Credential{Environment: map[string]string{"RESTIC_PASSWORD": "foreign"}})
			if err != nil {
				f.t.Fatal(err)
			}
			command, err := wire.ParseJobCommand(s.Command.Document)
			if err != nil {
				f.t.Fatal(err)
			}
			command.Credentials = hashes("admin", sealed.Sealed)
			if s.Command.Document, err = wire.EncodeDocument(command); err != nil {
				f.t.Fatal(err)
			}
			s.Credentials[0].Sealed = base64.StdEncoding.EncodeToString(sealed.Sealed)
		},
		"no base64":         func(_ *fixture, s *v1alpha1.HostJobStatus) { s.Credentials[0].Sealed = "?" },
		"another name":      func(_ *fixture, s *v1alpha1.HostJobStatus) { s.Credentials[0].Name = "repository" },
		"another signature": func(_ *fixture, s *v1alpha1.HostJobStatus) { s.Command.Signatures[0].Value = "AAAA" },
		"a credential beside": func(_ *fixture, s *v1alpha1.HostJobStatus) {
			s.Credentials = append(s.Credentials, v1alpha1.SealedCredential{Name: "x"})
		},
		"another digest": func(_ *fixture, s *v1alpha1.HostJobStatus) { s.CredentialsDigest = "0" },
		"none":           func(_ *fixture, s *v1alpha1.HostJobStatus) { s.Credentials = nil },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.withAdmin()
			j := f.createKind(v1alpha1.HostJobPrune, "web-1", "")
			f.reconcile(j)
			f.asGateway(j, func(s *v1alpha1.HostJobStatus) { tamper(f, s) })
			f.reconcile(j)
			if opened, err := f.open(j, f.host, f.private); err != nil || opened.Environment["RESTIC_PASSWORD"] != adminPassword {
				t.Errorf("the machine opens %v variables, %v", len(opened.Environment), err)
			}
			version := j.ResourceVersion
			f.reconcile(j)
			if j.ResourceVersion != version {
				t.Error("it is written again and again")
			}
		})
	}
}

func TestCredentialsAreGoneWithTheEndOfTheJob(t *testing.T) {
	f := newFixture(t)
	f.withAdmin()
	digests := map[string]bool{}
	for _, end := range []struct {
		name string
		end  func(j *v1alpha1.HostJob)
	}{
		{"reported by the gateway", func(j *v1alpha1.HostJob) {
			f.asGateway(j, func(s *v1alpha1.HostJobStatus) { s.Phase, s.CompletionTime = v1alpha1.JobSucceeded, new(metav1.Now()) })
		}},
		{"cancelled before the start", func(j *v1alpha1.HostJob) { j.Spec.Cancel = true; f.update(j) }},
	} {
		t.Run(end.name, func(t *testing.T) {
			j := f.createKind(v1alpha1.HostJobPrune, "web-1", "")
			f.reconcile(j)
			if len(j.Status.Credentials) != 1 || j.Status.CredentialsDigest == "" {
				t.Fatal("no credentials to begin with")
			}
			if digests[j.Status.CredentialsDigest] {
				t.Error("two jobs with one Secret have the same digest: it tells who shares credentials")
			}
			digests[j.Status.CredentialsDigest] = true
			end.end(j)
			writes := 0
			r := f.reconciler()
			r.Client = interceptor.NewClient(indexed(f.client), interceptor.Funcs{
				SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, patch client.Patch, opts ...client.SubResourcePatchOption) error {
					writes++
					return c.SubResource(sub).Patch(ctx, o, patch, opts...)
				},
			})
			if _, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(j)}); err != nil {
				t.Fatal(err)
			}
			f.read(j)
			if !j.Status.Phase.Finished() || len(j.Status.Credentials) != 0 || j.Status.CredentialsDigest != "" || writes != 1 {
				t.Errorf("phase %s, %d credentials, digest %q after %d writes, expected none after one", j.Status.Phase, len(j.Status.Credentials), j.Status.CredentialsDigest, writes)
			}
		})
	}
}

func TestDispatchedJobsKeepWhatTheyWereGiven(t *testing.T) {
	f := newFixture(t)
	admin := f.withAdmin()
	j := f.createKind(v1alpha1.HostJobPrune, "web-1", "")
	f.reconcile(j)
	f.asGateway(j, func(s *v1alpha1.HostJobStatus) { s.Phase = v1alpha1.JobDispatched })
	given := j.Status.DeepCopy()
	if err := f.client.Delete(t.Context(), admin); err != nil {
		t.Fatal(err)
	}
	f.reconcile(j)
	if j.Status.Command.Document != given.Command.Document || len(j.Status.Credentials) != 1 || j.Status.Credentials[0] != given.Credentials[0] {
		t.Error("what may be on its way to the machine changed")
	}
}

func TestEndedByTheControllersIsAnEvent(t *testing.T) {
	f := newFixture(t)
	late, cancelled := f.create(nil), f.create(func(j *v1alpha1.HostJob) { j.Spec.Cancel = true })
	f.reconcile(cancelled)
	f.clock.SetTime(f.clock.Now().Add(2 * time.Hour))
	f.reconcile(late)
	f.reconcile(late)
	f.reconcile(cancelled)
	close(f.recorder.Events)
	var got []string
	for event := range f.recorder.Events {
		got = append(got, event)
	}
	if len(got) != 2 || !strings.HasPrefix(got[0], "Normal Cancelled Backup: it was cancelled") || !strings.HasPrefix(got[1], "Warning Expired Backup: the machine did not take it") {
		t.Errorf("events %q, expected one for each job", got)
	}
}

// startManager runs the reconciler with the rights and the cache of an installation.
func (f *fixture) startManager() {
	f.t.Helper()
	mgr, err := ctrl.NewManager(f.controllersConfig(), ctrl.Options{
		Scheme: f.client.Scheme(), Metrics: metricsserver.Options{BindAddress: "0"}, Controller: config.Controller{SkipNameValidation: new(true)},
		Cache: cache.Options{ByObject: map[client.Object]cache.ByObject{&corev1.Secret{}: {Label: labels.SelectorFromSet(labels.Set{v1alpha1.LabelCredentials: "true"})}}},
	})
	if err != nil {
		f.t.Fatal(err)
	}
	r := f.reconciler()
	r.Client, r.Live, r.Recorder = mgr.GetClient(), mgr.GetAPIReader(), mgr.GetEventRecorder(v1alpha1.ManagerControllers)
	if err := selecting.AddIndexes(f.t.Context(), mgr.GetFieldIndexer()); err != nil {
		f.t.Fatal(err)
	}
	if err := r.SetupWithManager(mgr); err != nil {
		f.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := mgr.Start(f.t.Context()); err != nil && f.t.Context().Err() == nil {
			f.t.Errorf("the manager ended: %v", err)
		}
	}()
	f.t.Cleanup(func() { <-done })
}

// wait polls a job until it is as it should be.
func (f *fixture) wait(j *v1alpha1.HostJob, what string, is func() bool) {
	f.t.Helper()
	env.Eventually(f.t, 30*time.Second, what, func(ctx context.Context) error {
		if err := f.client.Get(ctx, client.ObjectKeyFromObject(j), j); err != nil {
			return err
		}
		if !is() {
			return errors.New(fmt.Sprint(j.Name, " is ", j.Status.Phase, ", ", conditions(j)))
		}
		return nil
	})
}

func TestExclusiveJobsFollowOneAnother(t *testing.T) {
	f := newFixture(t)
	sharing, _ := f.enrolled("web-2")
	sharing.Spec.Repository.URL = f.host.Spec.Repository.URL + "/"
	f.update(sharing)
	other, _ := f.enrolled("db-1")
	f.startManager()
	named := func(name string, host *v1alpha1.Host) *v1alpha1.HostJob {
		j := f.create(func(j *v1alpha1.HostJob) {
			j.GenerateName, j.Name = "", name
			j.Spec = job(v1alpha1.HostJobCheck).Spec
			j.Spec.HostRef.Name = host.Name
		})
		f.wait(j, name+" is looked at", func() bool { return len(j.Status.Conditions) > 0 })
		return j
	}
	has := func(j *v1alpha1.HostJob, want string) func() bool {
		return func() bool {
			return conditions(j)["Ready"] == want && (j.Status.Command != nil) == strings.HasPrefix(want, "True")
		}
	}
	first := named("check-1", f.host)
	second := named("check-2", sharing)
	third := named("check-3", f.host)
	apart := named("check-4", other)
	f.wait(first, "the first has its command", has(first, "True WaitingForHost"))
	f.wait(second, "one of another Host in the same repository waits", has(second, "False WaitingForRepository"))
	f.wait(third, "so does the next", has(third, "False WaitingForRepository"))
	f.wait(apart, "one on another repository does not", has(apart, "True WaitingForHost"))

	f.asGateway(first, func(s *v1alpha1.HostJobStatus) { s.Phase = v1alpha1.JobRunning })
	f.wait(first, "the first runs", has(first, "True InProgress"))
	f.asGateway(first, func(s *v1alpha1.HostJobStatus) { s.Phase, s.CompletionTime = v1alpha1.JobFailed, new(metav1.Now()) })
	f.wait(second, "the second follows", has(second, "True WaitingForHost"))
	f.wait(third, "the third waits for the second", func() bool {
		ready := meta.FindStatusCondition(third.Status.Conditions, "Ready")
		return has(third, "False WaitingForRepository")() && strings.Contains(ready.Message, `"check-2"`)
	})
	if err := f.client.Delete(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	f.wait(third, "the third follows one that was deleted", has(third, "True WaitingForHost"))
}

func TestJobsFollowSecretsAndRepoMaintenances(t *testing.T) {
	f := newFixture(t)
	f.host.Spec.Repository.AdminCredentialsSecretRef = &v1alpha1.LocalReference{Name: "web-1-admin"}
	f.update(f.host)
	vault, key := f.enrolled("vault")
	f.startManager()
	j := f.createKind(v1alpha1.HostJobPrune, "web-1", "")
	ready := func(want string) func() bool { return func() bool { return conditions(j)["Ready"] == want } }
	f.wait(j, "it waits for its Secret", ready("False CredentialsMissing"))
	secret := f.createSecret("web-1-admin", map[string]string{"RESTIC_PASSWORD": adminPassword, "AWS_ACCESS_KEY_ID": "x"})
	f.wait(j, "it looks at the Secret when that comes", ready("False CredentialsInvalid"))
	delete(secret.Data, "AWS_ACCESS_KEY_ID")
	f.update(secret)
	f.wait(j, "and when it was mended", func() bool { return ready("True WaitingForHost")() && len(j.Status.Credentials) == 1 })
	if _, err := f.open(j, f.host, f.private); err != nil {
		t.Error(err)
	}
	f.clock.SetTime(f.clock.Now().Add(time.Minute))
	f.maintain("vault")
	f.wait(j, "an executor that is named takes the job from the machine", func() bool { return j.Status.Phase == v1alpha1.JobFailed && len(j.Status.Credentials) == 0 })
	j = f.createKind(v1alpha1.HostJobPrune, "vault", "web-1")
	f.wait(j, "the executor gets it", func() bool { return len(j.Status.Credentials) == 1 })
	if _, err := f.open(j, vault, key); err != nil {
		t.Error(err)
	}
}
