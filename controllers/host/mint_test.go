package host

import (
	"encoding/json"
	"errors"
	"regexp"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/controllers/internal/convert"
)

// mintHost is a Host that names no Secret.
func mintHost(name, url string) *v1alpha1.Host {
	host := newHost(name)
	host.Spec.Repository = v1alpha1.Repository{URL: url}
	return host
}

func (h *harness) secret(name string) *corev1.Secret {
	h.t.Helper()
	secret := &corev1.Secret{}
	if !h.get(name, secret) {
		return nil
	}
	return secret
}

func TestAPasswordIsMintedOnceAndPublished(t *testing.T) {
	h := newHarness(t)
	a := newAgent(t)
	h.create(mintHost("web-1", "rest:https://backup.example.com/web-1"))
	h.enrolHost("web-1", a)
	close(h.recorder.Events)
	var events []string
	for e := range h.recorder.Events {
		events = append(events, e)
	}
	h.recorder.Events = make(chan string, 100)
	said := strings.Join(events, "\n")
	if !strings.Contains(said, "Normal CredentialsMinted a repository password was made in Secret web-1-repo; the condition CredentialsExported") {
		t.Errorf("no Event tells of the password: %s", said)
	}

	secret := h.secret("web-1-repo")
	if secret == nil {
		t.Fatal("no Secret was made")
	}
	if len(secret.OwnerReferences) != 0 {
		t.Errorf("the Secret would go with %v", secret.OwnerReferences)
	}
	if secret.Labels[v1alpha1.LabelCredentials] != "true" || secret.Labels[v1alpha1.LabelHost] != "web-1" {
		t.Errorf("labels %v", secret.Labels)
	}
	random := regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`)
	password, restKey := string(secret.Data["RESTIC_PASSWORD"]), string(secret.Data["RESTIC_REST_PASSWORD"])
	if !random.MatchString(password) || !random.MatchString(restKey) || password == restKey || string(secret.Data["RESTIC_REST_USERNAME"]) != "web-1" || len(secret.Data) != 3 {
		t.Errorf("the Secret holds %d keys, the user %q", len(secret.Data), secret.Data["RESTIC_REST_USERNAME"])
	}
	if minted := h.host("web-1").Status.MintedCredentials; minted == nil || minted.SecretName != "web-1-repo" || minted.Time.IsZero() {
		t.Errorf("status.mintedCredentials is %+v", minted)
	}
	if _, credential := h.bundle("web-1", a); credential.Environment["RESTIC_PASSWORD"] != password || credential.Environment["RESTIC_REST_PASSWORD"] != restKey {
		t.Error("the machine gets another password")
	}
	h.wantCondition("web-1", "Ready", "True Published")
	h.wantCondition("web-1", "CredentialsExported", "False ExportNotConfirmed", "outside the cluster",
		"kubectl -n "+h.namespace+" get secret web-1-repo", "annotate secret web-1-repo backup.restic-manager.io/credentials-exported=true",
		"jsonpath='{.data.RESTIC_REST_PASSWORD}' | base64 -d | htpasswd -i -B FILE web-1")

	t.Log("the password is in no status and no Event")
	raw, err := json.Marshal([]any{h.host("web-1"), h.set("web-1")})
	if err != nil {
		t.Fatal(err)
	}
	for what, text := range map[string]string{"objects": string(raw), "Events": said} {
		if strings.Contains(text, password) || strings.Contains(text, restKey) {
			t.Errorf("a minted password is in the %s", what)
		}
	}

	t.Log("an export that is confirmed is told")
	change(h, secret, func(s *corev1.Secret) { s.Annotations = map[string]string{v1alpha1.AnnotationExported: "true"} })
	h.run("web-1")
	h.wantCondition("web-1", "CredentialsExported", "True ExportConfirmed")
	h.writes = 0
	h.run("web-1")
	if now := h.secret("web-1-repo"); h.writes != 0 || string(now.Data["RESTIC_PASSWORD"]) != password {
		t.Errorf("%d writes by a Host that has its password", h.writes)
	}

	t.Log("a Secret that was changed by hand is sealed anew, never written over")
	change(h, h.secret("web-1-repo"), func(s *corev1.Secret) { s.Data["RESTIC_PASSWORD"] = []byte("rotated") })
	h.run("web-1")
	if _, credential := h.bundle("web-1", a); credential.Environment["RESTIC_PASSWORD"] != "rotated" {
		t.Error("the rotated password is not published")
	}
}

func TestALostPasswordIsNeverMadeAnew(t *testing.T) {
	h := newHarness(t)
	a := newAgent(t)
	h.create(mintHost("web-1", "/srv/restic"))
	h.enrolHost("web-1", a)
	secret := h.secret("web-1-repo")
	if len(secret.Data) != 1 {
		t.Errorf("a local repository needs one password, the Secret holds %d keys", len(secret.Data))
	}
	published := h.set("web-1")
	if err := h.admin.Delete(t.Context(), secret.DeepCopy()); err != nil {
		t.Fatal(err)
	}
	if result := h.run("web-1"); result.RequeueAfter != missingSecretDelay {
		t.Errorf("looks again after %s", result.RequeueAfter)
	}
	if h.secret("web-1-repo") != nil {
		t.Fatal("another password was made")
	}
	h.wantCondition("web-1", "Ready", "False CredentialsMissing", `Secret "web-1-repo"`, "restic-manager-agent export-credentials", "spec.repository.credentialsSecretRef")
	h.wantCondition("web-1", "CredentialsExported", "False MintedSecretMissing", "restic-manager-agent export-credentials", v1alpha1.LabelCredentials)
	if now := h.set("web-1"); now == nil || now.ResourceVersion != published.ResourceVersion {
		t.Error("the set in force was touched")
	}

	t.Log("what the machine gave back is taken, once it is labelled")
	back := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "web-1-repo"}, Data: secret.Data}
	h.create(back)
	h.run("web-1")
	h.wantCondition("web-1", "Ready", "False CredentialsNotLabeled", "label secret web-1-repo")
	change(h, back, func(s *corev1.Secret) { s.Labels = map[string]string{v1alpha1.LabelCredentials: "true"} })
	h.run("web-1")
	h.wantCondition("web-1", "Ready", "True Published")
	h.wantCondition("web-1", "CredentialsExported", "False ExportNotConfirmed")

	t.Log("a Secret of one's own ends it")
	h.create(newSecret())
	change(h, h.host("web-1"), func(host *v1alpha1.Host) {
		host.Spec.Repository.CredentialsSecretRef = &v1alpha1.LocalReference{Name: "repo"}
		host.Spec.Repository.URL = "rest:https://backup.example.com/web-1"
	})
	h.run("web-1")
	h.wantCondition("web-1", "Ready", "True Published")
	h.wantCondition("web-1", "CredentialsExported", "absent")
	if h.host("web-1").Status.MintedCredentials == nil {
		t.Error("it is forgotten that a password was made")
	}
}

// Whatever write the controllers are killed at, before or after it was done, the machine gets the one password that was made.
func TestMintingSurvivesACrashAtEveryWrite(t *testing.T) {
	for _, lost := range []bool{false, true} {
		for n := 1; ; n++ {
			h := newHarness(t)
			a := newAgent(t)
			h.create(mintHost("web-1", "rest:https://backup.example.com/web-1"))
			change(h, h.host("web-1"), func(host *v1alpha1.Host) { host.Spec.Identity = convert.HostIdentity(&a.identity) })
			h.crashAt, h.lost = n, lost
			first := ""
			for range 10 {
				_, err := h.Reconcile(t.Context(), ctrl.Request{NamespacedName: h.key("web-1")})
				if err != nil && !errors.Is(err, errCrash) {
					t.Fatal(err)
				}
				if secret := h.secret("web-1-repo"); secret != nil && first == "" {
					first = string(secret.Data["RESTIC_PASSWORD"])
				}
				if err == nil && h.set("web-1") != nil {
					break
				}
			}
			if secret := h.secret("web-1-repo"); secret == nil || string(secret.Data["RESTIC_PASSWORD"]) != first {
				t.Fatalf("crash at write %d (done: %v): the Secret is gone, or was made twice", n, lost)
			}
			if _, credential := h.bundle("web-1", a); credential.Environment["RESTIC_PASSWORD"] != first {
				t.Errorf("crash at write %d (done: %v): the machine gets another password", n, lost)
			}
			if h.host("web-1").Status.MintedCredentials == nil {
				t.Errorf("crash at write %d (done: %v): it is not remembered that a password was made", n, lost)
			}
			if h.writes < n {
				break // that was the last write
			}
		}
	}
}

func TestAStaleHostMintsNothing(t *testing.T) {
	h := newHarness(t)
	h.create(mintHost("web-1", "/srv/restic"))
	stale := h.host("web-1")
	h.run("web-1")
	if err := h.admin.Delete(t.Context(), h.secret("web-1-repo")); err != nil {
		t.Fatal(err)
	}
	if err := h.mintCredentials(t.Context(), stale); !elsewhereChanged(err) {
		t.Errorf("error %v, expected that it looks again", err)
	}
	if h.secret("web-1-repo") != nil {
		t.Error("another password was made for a repository that has one")
	}
}

func TestASecretThatIsInTheWayIsNamed(t *testing.T) {
	tests := []struct {
		name   string
		labels map[string]string
		want   string
	}{
		{"without any label", nil, "False CredentialsNotLabeled"},
		{"with the label of credentials alone", map[string]string{v1alpha1.LabelCredentials: "true"}, "False CredentialsInvalid"},
		{"made for another Host", map[string]string{v1alpha1.LabelCredentials: "true", v1alpha1.LabelHost: "web-2"}, "False CredentialsInvalid"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := newHarness(t)
			squatter := newSecret()
			squatter.Name, squatter.Labels = "web-1-repo", tt.labels
			h.create(squatter, mintHost("web-1", "rest:https://backup.example.com/web-1"))
			if result := h.run("web-1"); result.RequeueAfter > missingSecretDelay || result.RequeueAfter == 0 {
				t.Errorf("looks again after %s", result.RequeueAfter)
			}
			h.wantCondition("web-1", "Ready", tt.want, `Secret "web-1-repo" is in the way`, "spec.repository.credentialsSecretRef", v1alpha1.LabelHost+"=web-1")
			h.wantCondition("web-1", "Enrolled", "False WaitingForMachine")
			if now := h.secret("web-1-repo"); now.ResourceVersion != squatter.ResourceVersion {
				t.Error("somebody's Secret was written")
			}
			if h.host("web-1").Status.MintedCredentials != nil {
				t.Error("it is held for minted")
			}
			t.Log("naming it is enough")
			change(h, squatter, func(s *corev1.Secret) { s.Labels = map[string]string{v1alpha1.LabelCredentials: "true"} })
			change(h, h.host("web-1"), func(host *v1alpha1.Host) {
				host.Spec.Repository.CredentialsSecretRef = &v1alpha1.LocalReference{Name: "web-1-repo"}
			})
			h.run("web-1")
			h.wantCondition("web-1", "Ready", "True Accepted")
			h.wantCondition("web-1", "CredentialsExported", "absent")
		})
	}
}

func TestAHostThatComesBackUsesItsOldPassword(t *testing.T) {
	h := newHarness(t)
	h.create(mintHost("web-1", "/srv/restic"))
	h.run("web-1")
	password := string(h.secret("web-1-repo").Data["RESTIC_PASSWORD"])
	// What the garbage collector does, which leaves the password.
	enrollment := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: h.namespace, Name: v1alpha1.EnrollmentSecretName("web-1")}}
	for _, o := range []client.Object{h.host("web-1"), enrollment} {
		if err := h.admin.Delete(t.Context(), o); client.IgnoreNotFound(err) != nil {
			t.Fatal(err)
		}
	}
	h.create(mintHost("web-1", "/srv/restic"))
	h.run("web-1")
	h.wantEvent("CredentialsMinted", "made earlier")
	h.wantCondition("web-1", "Ready", "True Accepted")
	h.wantCondition("web-1", "CredentialsExported", "False ExportNotConfirmed")
	if now := h.secret("web-1-repo"); string(now.Data["RESTIC_PASSWORD"]) != password || h.host("web-1").Status.MintedCredentials == nil {
		t.Error("the old password is not used")
	}
}

func TestNothingIsMintedForARepositoryThatIsInUse(t *testing.T) {
	h := newHarness(t)
	h.create(mintHost("web-1", "/srv/restic"))
	host := h.host("web-1")
	base := host.DeepCopy()
	host.Status.Repository = &v1alpha1.RepositoryStatus{State: "Ready", URL: "/srv/restic", Time: metav1.Now()}
	if err := h.admin.Status().Patch(t.Context(), host, client.MergeFrom(base)); err != nil {
		t.Fatal(err)
	}
	h.run("web-1")
	h.wantCondition("web-1", "Ready", "False CredentialsMissing", "would not open it", "spec.repository.url")
	if h.secret("web-1-repo") != nil {
		t.Error("a password was made that opens nothing")
	}

	base = host.DeepCopy()
	host.Spec.Repository.URL = "/srv/another"
	if err := h.admin.Patch(t.Context(), host, client.MergeFrom(base)); err != nil {
		t.Fatal(err)
	}
	h.run("web-1")
	if h.secret("web-1-repo") == nil {
		t.Error("no password was made for another repository")
	}
}

func TestWhatCannotBeMintedIsTold(t *testing.T) {
	long := strings.Repeat("a", 250)
	tests := []struct{ name, host, url, want, says string }{
		{"the keys of a bucket", "web-1", "s3:https://s3.example.com/bucket", "False CredentialsMissing", "the keys of s3: repositories"},
		{"those of rclone", "web-1", "rclone:remote:path", "False CredentialsMissing", "the keys of rclone: repositories"},
		{"a Secret whose name would be too long", long, "/srv/restic", "False CredentialsMissing", "too long"},
		{"credentials for a URL that restic does not know", "web-1", "ftp:host/path", "False Invalid", "spec.repository.url"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := newHarness(t)
			h.create(mintHost(tt.host, tt.url))
			_, err := h.Reconcile(t.Context(), ctrl.Request{NamespacedName: h.key(tt.host)})
			if tt.host == long {
				// Its enrolment Secret has no possible name either.
				if err == nil {
					t.Error("expected that a Host with such a name cannot be enrolled")
				}
			} else if err != nil {
				t.Fatal(err)
			}
			if h.secret(v1alpha1.MintedSecretName("web-1")) != nil || h.host(tt.host).Status.MintedCredentials != nil {
				t.Error("something was minted")
			}
			if tt.host != long {
				h.wantCondition(tt.host, "Ready", tt.want, tt.says)
				h.wantCondition(tt.host, "Stalled", "True "+strings.Fields(tt.want)[1])
			}
		})
	}
}

func TestALongNameIsMintedWithoutItsLabel(t *testing.T) {
	h := newHarness(t)
	name := strings.Repeat("a", 80)
	h.create(mintHost(name, "sftp:backup@nas.example.com:/srv"))
	h.run(name)
	secret := h.secret(name + "-repo")
	if secret == nil || secret.Labels[v1alpha1.LabelHost] != "" {
		t.Fatalf("Secret %v", secret != nil)
	}
	t.Log("a crash before status was written is recognised all the same")
	changeStatus(h, h.host(name), func(host *v1alpha1.Host) { host.Status.MintedCredentials = nil })
	h.run(name)
	if h.host(name).Status.MintedCredentials == nil {
		t.Error("the Secret is not recognised")
	}
}
