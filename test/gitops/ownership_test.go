package gitops

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/test/env"
)

// ways are how tools apply what is in Git, with what they call themselves.
var ways = []struct{ name, command string }{
	{"Flux", "apply --server-side --force-conflicts --field-manager=kustomize-controller"},
	{"Argo CD with server-side apply", "apply --server-side --force-conflicts --field-manager=argocd-controller"},
	{"Argo CD", "apply --field-manager=argocd-controller"},
}

// git applies a manifest.
func (s *space) git(command, manifest string) error {
	args := append([]string{"-n", s.namespace}, strings.Fields(command)...)
	_, err := s.cp.KubectlInput(s.t.Context(), s.cp.AdminKubeconfig, manifest, append(args, "-f", "-")...)
	return err
}

// manifest is a Host as it stands in Git: without an identity.
func manifest(uploadKBps int, identity *v1alpha1.HostIdentity) string {
	text := fmt.Sprintf(`apiVersion: backup.restic-manager.io/v1alpha1
kind: Host
metadata:
  name: web-1
  labels: {role: web, app.kubernetes.io/instance: shop}
  annotations: {argocd.argoproj.io/tracking-id: "shop:backup.restic-manager.io/Host:shop/web-1"}
spec:
  repository: {url: "rest:https://backup.example.com/web-1"}
  bandwidth: {uploadKBps: %d}
`, uploadKBps)
	if identity != nil {
		text += fmt.Sprintf("  identity: {signingKey: %q, sealingKey: %q}\n", identity.SigningKey, identity.SealingKey)
	}
	return text
}

// What the controllers pinned, and what a person set in an emergency, is not in Git, and stays.
func TestGitLeavesAloneWhatItDoesNotSay(t *testing.T) {
	o := startOperator(t)
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			s := o.space(t)
			apply := func(uploadKBps int) *v1alpha1.Host {
				t.Helper()
				if err := s.git(way.command, manifest(uploadKBps, nil)); err != nil {
					t.Fatal(err)
				}
				host := &v1alpha1.Host{}
				fetch(s, "web-1", host)
				if host.Spec.Bandwidth == nil || host.Spec.Bandwidth.UploadKBps != int32(uploadKBps) {
					t.Fatalf("what Git says is not there: %+v", host.Spec.Bandwidth)
				}
				return host
			}
			apply(100)
			keys := s.enrol("web-1")
			if owner := ownerOf(t, apply(100), "f:spec", "f:identity"); owner != v1alpha1.ManagerControllers {
				t.Errorf("spec.identity belongs to %q", owner)
			}
			out, err := s.cp.Kubectl(t.Context(), "-n", s.namespace, "patch", "host", "web-1", "--type=merge", "--field-manager=incident", "-p", `{"spec":{"suspend":true}}`)
			if err != nil {
				t.Fatal(out, err)
			}
			host := apply(200)
			if host.Spec.Identity == nil || *host.Spec.Identity != *keys {
				t.Errorf("the identity is %+v", host.Spec.Identity)
			}
			if host.Annotations[v1alpha1.AnnotationEnrolledWith] == "" {
				t.Error("the mark of the enrolment is gone")
			}
			if !host.Spec.Suspend {
				t.Error("the Host is not suspended any more")
			}
			s.until("it goes on as it was", host, told{"Ready": "True Suspended", "Enrolled": "True IdentityPinned"})

			// What the operator makes for the Host is nobody else's to prune.
			for _, object := range []client.Object{newMaintenance("web-1-default"), &v1alpha1.ScheduleSet{ObjectMeta: named("web-1")}} {
				u, err := s.object(t.Context(), kindOf(t, object), object.GetName())
				if err != nil {
					t.Fatal(err)
				}
				for key := range u.GetLabels() {
					if !strings.HasPrefix(key, "backup.restic-manager.io/") {
						t.Errorf("%s has the label %s", u.GetKind(), key)
					}
				}
				if len(u.GetAnnotations()) > 0 {
					t.Errorf("%s has the annotations %v", u.GetKind(), u.GetAnnotations())
				}
			}
		})
	}
}

// ownerOf returns the manager of a field, from managedFields.
func ownerOf(t *testing.T, object client.Object, path ...string) string {
	t.Helper()
	for _, entry := range object.GetManagedFields() {
		var fields map[string]any
		if err := yaml.Unmarshal(entry.FieldsV1.GetRawBytes(), &fields); err != nil {
			t.Fatal(err)
		}
		found := true
		for _, step := range path {
			if fields, found = fields[step].(map[string]any); !found {
				break
			}
		}
		if found {
			return entry.Manager
		}
	}
	return ""
}

// The guide warns of these.
func TestWhatTakesAnIdentityAway(t *testing.T) {
	o := startOperator(t)
	t.Run("replacing the whole object, by who may", func(t *testing.T) {
		s := o.space(t)
		if err := s.git("create", manifest(100, nil)); err != nil {
			t.Fatal(err)
		}
		keys := s.enrol("web-1")
		if err := s.git("replace", manifest(100, nil)); err != nil {
			t.Fatal(err)
		}
		host := &v1alpha1.Host{}
		if fetch(s, "web-1", host); host.Spec.Identity != nil {
			t.Errorf("the identity is still %v, of %v", host.Spec.Identity, keys)
		}
	})
	t.Run("replacing the whole object is refused to who may not", func(t *testing.T) {
		s := o.space(t)
		if err := s.git("create", manifest(100, nil)); err != nil {
			t.Fatal(err)
		}
		s.enrol("web-1")
		s.allow("deployer", rbacv1.PolicyRule{APIGroups: []string{v1alpha1.GroupVersion.Group}, Resources: []string{"hosts"}, Verbs: []string{"get", "update", "patch"}})
		as := " --as=deployer --as-group=system:authenticated"
		env.Eventually(t, patience, "the deployer may write Hosts", func(context.Context) error {
			return s.git("apply --server-side --field-manager=deployer --force-conflicts"+as, manifest(200, nil))
		})
		env.Eventually(t, patience, "and not take the identity away", func(context.Context) error {
			err := s.git("replace"+as, manifest(100, nil))
			if err == nil {
				return env.Permanent(errors.New("it was taken away"))
			}
			if !strings.Contains(err.Error(), "hosts/identity") {
				return err
			}
			return nil
		})
	})
	t.Run("dropping it from Git, where Git had set it", func(t *testing.T) {
		s := o.space(t)
		for _, m := range []string{manifest(100, hostIdentity(newIdentity(t))), manifest(100, nil)} {
			if err := s.git(ways[0].command, m); err != nil {
				t.Fatal(err)
			}
		}
		host := &v1alpha1.Host{}
		if fetch(s, "web-1", host); host.Spec.Identity != nil {
			t.Errorf("the identity is still %v", host.Spec.Identity)
		}
	})
}

// The guide says how.
func TestGitHandsAnIdentityOver(t *testing.T) {
	s := startOperator(t).space(t)
	flux := ways[0].command
	if err := s.git(flux, manifest(100, hostIdentity(newIdentity(t)))); err != nil {
		t.Fatal(err)
	}
	s.until("the keys of Git count", newHost("web-1"), told{"Enrolled": "True IdentityGiven"})
	change(s, "web-1", &v1alpha1.Host{}, func(h *v1alpha1.Host) { h.Annotations[v1alpha1.AnnotationMintToken] = "now" })
	keys := s.enrol("web-1")
	if err := s.git(flux, manifest(200, nil)); err != nil {
		t.Fatal(err)
	}
	host := &v1alpha1.Host{}
	if fetch(s, "web-1", host); host.Spec.Identity == nil || *host.Spec.Identity != *keys {
		t.Errorf("the identity is %+v", host.Spec.Identity)
	}
}

// allow gives a user some rights in the namespace.
func (s *space) allow(user string, rules ...rbacv1.PolicyRule) {
	s.t.Helper()
	s.create(
		&rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: user}, Rules: rules},
		&rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Name: user}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: user},
			Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}}},
	)
}

// Deleting a Host leaves the one thing without which its backups are lost.
func TestWhatGoesWithAHost(t *testing.T) {
	s := startOperator(t).space(t)
	if err := s.git(ways[0].command, manifest(100, nil)); err != nil {
		t.Fatal(err)
	}
	s.enrol("web-1")
	s.create(newJob("unlock"))
	s.until("the job belongs to the Host", newJob("unlock"), told{"Ready": "True WaitingForHost"})
	s.until("it has its maintenance", newMaintenance("web-1-default"), told{"Ready": "True Accepted"})
	// The ScheduleSet goes too, once its machine knows that it was removed.
	left := func() ([]string, error) {
		out, err := s.cp.Kubectl(t.Context(), "-n", s.namespace, "get", "hosts,hostjobs,repomaintenances,secrets", "-o", "name")
		return strings.Fields(out), err
	}
	before, err := left()
	if err != nil || len(before) != 4 {
		t.Fatalf("%v: %v", before, err)
	}
	if _, err := s.cp.Kubectl(t.Context(), "-n", s.namespace, "delete", "host", "web-1"); err != nil {
		t.Fatal(err)
	}
	env.Eventually(t, patience, "all of it is gone but the password", func(context.Context) error {
		now, err := left()
		if err == nil && !slices.Equal(now, []string{"secret/web-1-repo"}) {
			return fmt.Errorf("%v are left", now)
		}
		return err
	})
}
