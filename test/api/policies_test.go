package api

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/test/env"
)

func expectForbidden(t *testing.T, err error, want ...string) {
	t.Helper()
	if !apierrors.IsForbidden(err) {
		t.Fatalf("got %v, expected Forbidden", err)
	}
	for _, part := range want {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the message does not hold %q: %v", part, err)
		}
	}
}

func TestIdentityOfAHostTakesAPermissionOfItsOwn(t *testing.T) {
	cp := installed(t)
	namespace := cp.NewNamespace(t, "identity")
	// A role that may write Hosts but not their identity.
	if _, err := cp.Kubectl(t.Context(), "-n", namespace, "create", "role", "hosts", "--verb=get,list,create,update,patch,delete", "--resource=hosts.backup.restic-manager.io"); err != nil {
		t.Fatal(err)
	}
	if _, err := cp.Kubectl(t.Context(), "-n", namespace, "create", "rolebinding", "hosts", "--role=hosts", "--user=operator"); err != nil {
		t.Fatal(err)
	}
	operator := impersonate(t, cp, "operator")
	env.Eventually(t, time.Minute, "operator may look", func(ctx context.Context) error {
		return operator.List(ctx, &v1alpha1.HostList{}, client.InNamespace(namespace))
	})
	namespaceAdmin := userWith(t, cp, namespace, "admin")

	expectForbidden(t, operator.Create(t.Context(), object(t, namespace, host, identity(identityA))), "spec.identity decides which machine is this Host", "update on hosts/identity")
	h := object(t, namespace, host)
	if err := operator.Create(t.Context(), h); err != nil {
		t.Fatalf("a Host without identity: %v", err)
	}
	change := func(c client.Client, changes fields) error {
		t.Helper()
		if err := c.Get(t.Context(), client.ObjectKeyFromObject(h), h); err != nil {
			t.Fatal(err)
		}
		for path, value := range changes {
			set(t, h, path, value)
		}
		return c.Update(t.Context(), h)
	}
	expectForbidden(t, change(operator, identity(identityA)), "update on hosts/identity")
	if err := change(namespaceAdmin, identity(identityA)); err != nil {
		t.Fatalf("the namespace's admin sets the identity: %v", err)
	}
	if err := change(operator, fields{"spec.suspend": true}); err != nil {
		t.Errorf("a change beside the identity: %v", err)
	}
	expectForbidden(t, change(operator, identity(identityB)), "update on hosts/identity")
	expectForbidden(t, change(operator, fields{"spec.identity": nil}), "update on hosts/identity")

	annotate := func(c client.Client, value string) error {
		patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q,"other":"x"}}}`, v1alpha1.AnnotationEnrolledWith, value)
		return c.Patch(t.Context(), h.DeepCopy(), client.RawPatch("application/merge-patch+json", patch))
	}
	expectForbidden(t, annotate(operator, "somebody"), "mint-enrollment-token")
	for name, c := range map[string]client.Client{"the controllers": impersonateController(t, cp), "the namespace's admin": namespaceAdmin} {
		if err := annotate(c, name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := operator.Delete(t.Context(), h); err != nil {
		t.Errorf("deleting takes no more: %v", err)
	}
}

func impersonateController(t *testing.T, cp *env.ControlPlane) client.Client {
	t.Helper()
	return impersonate(t, cp, controllerAccount)
}

func TestRestoresTakeAPermissionOfTheirOwn(t *testing.T) {
	cp := installed(t)
	namespace := cp.NewNamespace(t, "restore")
	editor, namespaceAdmin := userWith(t, cp, namespace, "edit"), userWith(t, cp, namespace, "admin")
	expectForbidden(t, editor.Create(t.Context(), object(t, namespace, restoreJob)), "a HostJob of kind Restore", "create on hostjobs/restore", "restic-manager-admin")
	for name, text := range map[string]string{
		"a Backup": backupJob, "an Init": initJob, "a Forget": forgetJob, "a Prune": pruneJob, "a Check": checkJob, "an Unlock": unlockJob, "a Verify": verifyJob,
	} {
		if err := editor.Create(t.Context(), object(t, namespace, text)); err != nil {
			t.Errorf("%s by an editor: %v", name, err)
		}
	}
	restore := object(t, namespace, restoreJob)
	if err := namespaceAdmin.Create(t.Context(), restore); err != nil {
		t.Fatalf("a Restore by the namespace's admin: %v", err)
	}
	set(t, restore, "spec.cancel", true)
	if err := editor.Update(t.Context(), restore); err != nil {
		t.Errorf("an editor cancels a Restore: %v", err)
	}
}

func lease(namespace, name string) *coordinationv1.Lease {
	return &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
}

func TestGatewayWritesItsOwnLeasesOnly(t *testing.T) {
	cp := installed(t)
	gateway, controllers := impersonate(t, cp, gatewayAccount), impersonateController(t, cp)
	leader := lease(operatorNamespace, "restic-manager-controller")
	expectForbidden(t, gateway.Create(t.Context(), leader.DeepCopy()), "only Leases whose names begin with restic-manager-gateway-, not restic-manager-controller")
	if err := controllers.Create(t.Context(), leader); err != nil {
		t.Fatalf("the controllers take their Lease: %v", err)
	}
	t.Cleanup(func() {
		if err := admin(t, cp).Delete(context.Background(), leader); err != nil {
			t.Error(err)
		}
	})
	stolen := leader.DeepCopy()
	stolen.Spec.HolderIdentity = new("gateway")
	expectForbidden(t, gateway.Update(t.Context(), stolen), "restic-manager-gateway-")
	expectForbidden(t, gateway.Delete(t.Context(), leader), "restic-manager-gateway-")
	expectForbidden(t, gateway.Create(t.Context(), lease("default", "restic-manager-gateway-x")))

	own := lease(operatorNamespace, v1alpha1.GatewayLeasePrefix+"instance")
	if err := gateway.Create(t.Context(), own); err != nil {
		t.Fatal(err)
	}
	own.Spec.HolderIdentity = new("instance")
	if err := gateway.Update(t.Context(), own); err != nil {
		t.Error(err)
	}
	if err := gateway.Delete(t.Context(), own); err != nil {
		t.Error(err)
	}
}

func TestGatewayWritesWhatMachinesReportAndNothingElse(t *testing.T) {
	cp := installed(t)
	namespace := cp.NewNamespace(t, "gateway")
	gateway, administrator := impersonate(t, cp, gatewayAccount), admin(t, cp)
	h, j := object(t, namespace, host), object(t, namespace, backupJob)
	for _, o := range []client.Object{h, j} {
		if err := administrator.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	patch := func(o *unstructured.Unstructured, status string) error {
		return gateway.Status().Patch(t.Context(), o.DeepCopy(), client.RawPatch("application/merge-patch+json", fmt.Appendf(nil, `{"status":%s}`, status)))
	}
	condition := `{"conditions":[{"type":"Ready","status":"True","reason":"Accepted","message":"","lastTransitionTime":"2026-01-01T00:00:00Z"}]}`
	refused := []struct {
		name   string
		object *unstructured.Unstructured
		status string
		want   string
	}{
		{"a condition of a Host", h, condition, "conditions and observedGeneration belong to the controllers"},
		{"the generation that a Host's conditions speak of", h, `{"observedGeneration":7}`, "conditions and observedGeneration"},
		{"the open token of a Host", h, `{"enrollment":{"tokenIDHash":"mine"}}`, "status.enrollment belongs to the controllers"},
		{"the last check", h, `{"maintenance":{"check":{"result":"Succeeded"}}}`, "status.maintenance belongs to the controllers"},
		{"that a password was made", h, `{"mintedCredentials":{"secretName":"mine","time":"2026-01-01T00:00:00Z"}}`, "status.mintedCredentials belongs to the controllers"},
		{"credentials of a command", j, `{"credentials":[{"name":"admin","sealed":"AAAA"}]}`, "status.credentials and status.credentialsDigest belong to the controllers"},
		{"the digest of credentials", j, `{"credentialsDigest":"mine"}`, "status.credentials and status.credentialsDigest"},
		{"a condition of a HostJob", j, condition, "conditions and observedGeneration belong to the controllers"},
		{"a command", j, `{"command":{"document":"{}","signatures":[]}}`, "status.command and status.cancelCommand belong to the controllers"},
		{"a cancellation", j, `{"cancelCommand":{"document":"{}","signatures":[]}}`, "status.command and status.cancelCommand"},
	}
	allowed := []struct {
		name   string
		object *unstructured.Unstructured
		status string
	}{
		{"what an agent says of itself, as a gateway of before writes it", h, `{"agent":{"version":"1"}}`},
		{"the size of a repository", h, `{"repository":{"state":"Ready","time":"2026-01-01T00:00:00Z","lockPresent":true,"stats":{"time":"2026-01-01T00:00:00Z","listedTime":"2026-01-01T00:00:00Z","snapshots":3,"restoreBytes":7}}}`},
		{"a wish to be enrolled", h, `{"enrollmentRequest":{"tokenIDHash":"a","signingKey":"b","sealingKey":"c","proof":"d","receivedAt":"2026-01-01T00:00:00Z"}}`},
		{"the phase of a job", j, `{"phase":"Dispatched","dispatchTime":"2026-01-01T00:00:00Z"}`},
	}
	run := func(when string) {
		for _, test := range refused {
			t.Run(test.name+" is refused"+when, func(t *testing.T) { expectForbidden(t, patch(test.object, test.status), test.want) })
		}
		for _, test := range allowed {
			t.Run(test.name+" is written"+when, func(t *testing.T) {
				if err := patch(test.object, test.status); err != nil {
					t.Error(err)
				}
			})
		}
	}
	run(" to a new object")
	// The same beside what the controllers have written.
	for o, status := range map[*unstructured.Unstructured]string{
		h: `{"observedGeneration":1,"enrollment":{"tokenIDHash":"theirs"},"maintenance":{"check":{"result":"Failed"}},"mintedCredentials":{"secretName":"web-1-repo","time":"2026-01-01T00:00:00Z"},"conditions":[{"type":"Ready","status":"False","reason":"Invalid","message":"","lastTransitionTime":"2026-01-01T00:00:00Z"}]}`,
		j: `{"observedGeneration":1,"command":{"document":"theirs","signatures":[]},"credentials":[{"name":"admin","sealed":"BBBB"}],"credentialsDigest":"theirs","conditions":[{"type":"Ready","status":"False","reason":"Invalid","message":"","lastTransitionTime":"2026-01-01T00:00:00Z"}]}`,
	} {
		if err := administrator.Status().Patch(t.Context(), o, client.RawPatch("application/merge-patch+json", fmt.Appendf(nil, `{"status":%s}`, status))); err != nil {
			t.Fatal(err)
		}
	}
	run(" beside the controllers' part")
	t.Run("a condition is not removed", func(t *testing.T) {
		expectForbidden(t, patch(h, `{"conditions":null}`), "conditions and observedGeneration")
	})
	t.Run("that a password was made is not forgotten", func(t *testing.T) {
		expectForbidden(t, patch(h, `{"mintedCredentials":null}`), "status.mintedCredentials")
	})
	t.Run("credentials of a command are not taken away", func(t *testing.T) {
		expectForbidden(t, patch(j, `{"credentials":null}`), "status.credentials")
	})
	t.Run("a spec is not written through its status", func(t *testing.T) {
		err := gateway.Status().Patch(t.Context(), h.DeepCopy(), client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"suspend":true},"metadata":{"labels":{"role":"mine"}}}`)))
		if err != nil {
			t.Fatal(err)
		}
		if err := administrator.Get(t.Context(), client.ObjectKeyFromObject(h), h); err != nil {
			t.Fatal(err)
		}
		if field(t, h, "spec.suspend") != nil || len(h.GetLabels()) != 0 {
			t.Errorf("spec %v, labels %v, expected that neither changed", h.Object["spec"], h.GetLabels())
		}
	})
}

func TestTheContentOfFilesTakesAPermissionOfItsOwn(t *testing.T) {
	cp := installed(t)
	namespace := cp.NewNamespace(t, "content")
	viewer, editor, namespaceAdmin := userWith(t, cp, namespace, "view"), userWith(t, cp, namespace, "edit"), userWith(t, cp, namespace, "admin")
	content := fields{"spec.kind": "Content"}
	expectForbidden(t, editor.Create(t.Context(), object(t, namespace, logQuery, content)), "a HostQuery of kind Content", "create on hostqueries/content", "restic-manager-admin")
	for _, kind := range []string{"Log", "Snapshots", "Files", "Find", "Diff", "Diagnosis"} {
		expectForbidden(t, viewer.Create(t.Context(), object(t, namespace, logQuery, fields{"spec.kind": kind})))
		if err := editor.Create(t.Context(), object(t, namespace, logQuery, fields{"spec.kind": kind})); err != nil {
			t.Errorf("a query of kind %s by an editor: %v", kind, err)
		}
	}
	query := object(t, namespace, logQuery, content)
	if err := namespaceAdmin.Create(t.Context(), query); err != nil {
		t.Fatalf("by the namespace's admin: %v", err)
	}
	if err := viewer.Get(t.Context(), client.ObjectKeyFromObject(query), query.DeepCopy()); err != nil {
		t.Errorf("a viewer does not see that somebody asks: %v", err)
	}
	// A command that the controllers did not sign, or an address to which others would bring their secrets.
	status := client.RawPatch("application/merge-patch+json", []byte(`{"status":{"gateway":{"url":"https://elsewhere.example.com"}}}`))
	gateway := impersonate(t, cp, gatewayAccount)
	for name, c := range map[string]client.Client{"the namespace's admin": namespaceAdmin, "the gateway": gateway} {
		t.Run("the status is not for "+name, func(t *testing.T) { expectForbidden(t, c.Status().Patch(t.Context(), query.DeepCopy(), status)) })
	}
	if err := impersonateController(t, cp).Status().Patch(t.Context(), query.DeepCopy(), status); err != nil {
		t.Errorf("the controllers write it: %v", err)
	}
	if err := editor.Delete(t.Context(), query); err != nil {
		t.Errorf("an editor deletes it: %v", err)
	}
}

func TestPoliciesAreWellTyped(t *testing.T) {
	cp := installed(t)
	for _, name := range []string{"restic-manager-host-identity", "restic-manager-hooks", "restic-manager-executor", "restic-manager-restore", "restic-manager-content", "restic-manager-gateway-leases", "restic-manager-gateway-status"} {
		env.Eventually(t, time.Minute, name+" is type-checked", func(ctx context.Context) error {
			policy, err := cp.Client().AdmissionregistrationV1().ValidatingAdmissionPolicies().Get(ctx, name, metav1.GetOptions{})
			if err != nil {
				return err
			}
			if policy.Status.ObservedGeneration != policy.Generation || policy.Status.TypeChecking == nil {
				return errors.New("not yet")
			}
			for _, warning := range policy.Status.TypeChecking.ExpressionWarnings {
				t.Errorf("%s: %s: %s", name, warning.FieldRef, warning.Warning)
			}
			return nil
		})
	}
}
