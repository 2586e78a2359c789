package cli_test

import (
	"context"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/test/env"
)

func TestAMachineIsFollowedToItsFirstBackup(t *testing.T) {
	w := newWorld(t)
	w.run("edit", "enroll", "web-1", "--repository", "rest:https://backup.example.com/web-1").expect(t, 2, "takes the role admin")
	w.run("admin", "enroll", "web-1").expect(t, 2, `no host "web-1"`, "--repository rest:")
	go w.enrols("web-1")
	s := w.run("admin", "enroll", "web-1", "--repository", "rest:https://backup.example.com/web-1", "--labels", "role=web", "--machine-flags", "--allow-restore=/srv", "--timeout", "1m")
	s.expect(t, 0, "Host web-1 is created.", "web-1:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=",
		"ok enrolled", "ok connected", "ok schedule set applied", "ok repository opened", "ok first backup")
	if !strings.HasPrefix(s.out, "printf %s 'token' | sudo restic-manager-agent enroll --token - --allow-restore=/srv\n") {
		t.Errorf("the output does not begin with the line to paste:\n%s", s.out)
	}
	if strings.Contains(s.out+s.err, "password\n") {
		t.Error("the password is printed")
	}
	w.run("admin", "enroll", "web-1", "--no-wait").expect(t, 0, "enrolled already")
	w.run("admin", "enroll", "web-1", "--repository", "rest:https://elsewhere.example.com").expect(t, 2, "leave out --repository")
}

// enrols does the controllers' and the machine's part, one step after the other.
func (w *world) enrols(name string) {
	ctx, key := w.t.Context(), types.NamespacedName{Namespace: w.namespace, Name: name}
	h := &v1alpha1.Host{}
	_ = env.Poll(ctx, time.Minute, "the Host is created", func(ctx context.Context) error { return w.admin.Get(ctx, key, h) })
	for secret, data := range map[string]map[string]string{
		v1alpha1.EnrollmentSecretName(name): {"command": "printf %s 'token' | sudo restic-manager-agent enroll --token -\n"},
		v1alpha1.MintedSecretName(name):     {"RESTIC_REST_USERNAME": name, "RESTIC_REST_PASSWORD": "password"},
	} {
		_ = w.admin.Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: secret}, StringData: data})
	}
	expires, soon := metav1.NewTime(time.Now().Add(time.Hour)), metav1.NewTime(time.Now().Add(time.Minute))
	var conditions []metav1.Condition
	update := func(change func()) {
		_ = env.Poll(ctx, 10*time.Second, "the status is written", func(ctx context.Context) error {
			if err := w.admin.Get(ctx, key, h); err != nil {
				return err
			}
			change()
			h.Status.Conditions = conditions
			return w.admin.Status().Update(ctx, h)
		})
	}
	update(func() {
		h.Status.Enrollment = &v1alpha1.EnrollmentStatus{TokenIDHash: "x", ExpiresAt: &expires}
		h.Status.MintedCredentials = &v1alpha1.MintedCredentials{SecretName: v1alpha1.MintedSecretName(name), Time: metav1.Now()}
	})
	for _, kind := range []string{v1alpha1.ConditionEnrolled, v1alpha1.ConditionConnected, v1alpha1.ConditionScheduleSetApplied, v1alpha1.ConditionRepositoryReady} {
		conditions = append(conditions, is(kind, "True", "Fine", "so it is"))
		update(func() { h.Status.NextRunTime = &soon })
	}
	update(func() { now := metav1.Now(); h.Status.LastSuccessTime = &now })
}

func TestAHostThatWaitsForTheNightIsNotWaitedFor(t *testing.T) {
	w := newWorld(t)
	night := metav1.NewTime(time.Now().Add(9 * time.Hour))
	w.host("web-1", func(h *v1alpha1.Host) {
		h.Status.NextRunTime = &night
		h.Status.Conditions = append(h.Status.Conditions, is(v1alpha1.ConditionScheduleSetApplied, "True", "Applied", "applied"), is(v1alpha1.ConditionRepositoryReady, "True", "RepositoryOpened", "opened"))
	})
	w.run("admin", "enroll", "web-1").expect(t, 0, "the next run begins in", "kubectl restic run backup web-1")
}

func TestDoctorAsksTheMachineAndSaysWhatMendsIt(t *testing.T) {
	w := newWorld(t)
	w.run("view", "doctor", "web-1").expect(t, 1, "there is no Host", "kubectl restic enroll web-1")
	w.host("web-1", func(h *v1alpha1.Host) { h.Status.ObservedGeneration = 1 })
	w.run("view", "doctor", "web-1").expect(t, 1, "no machine is enrolled", "kubectl restic enroll web-1", "you may not read Secrets")
	w.run("edit", "doctor", "web-1").expect(t, 1, "Secret web-1-repo with the repository's password does not exist")
	w.run("edit", "doctor", "-o", "json").expect(t, 1, `"link": "credentials"`)
	if err := w.admin.Delete(t.Context(), &v1alpha1.Host{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "web-1"}}); client.IgnoreNotFound(err) != nil {
		t.Fatal(err)
	}
	w.run("view", "doctor").expect(t, 2, "no host in namespace")
}
