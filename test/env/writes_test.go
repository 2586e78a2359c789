package env

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWritesAreCountedByUserAndResource(t *testing.T) {
	const gateway = "system:serviceaccount:restic-manager-system:restic-manager-gateway"
	entry := func(change func(*AuditEntry)) AuditEntry {
		e := AuditEntry{Stage: "ResponseComplete", User: gateway, Verb: "patch", Group: "backup.restic-manager.io", Resource: "hosts", Subresource: "status",
			Namespace: "shop", Code: 200}
		if change != nil {
			change(&e)
		}
		return e
	}
	entries := []AuditEntry{
		entry(nil),
		entry(nil),
		entry(func(e *AuditEntry) {
			e.Group, e.Resource, e.Subresource, e.Verb = "events.k8s.io", "events", "", "create"
		}),
		entry(func(e *AuditEntry) {
			e.Group, e.Resource, e.Subresource, e.Verb, e.User = "", "secrets", "", "create", "admin"
		}),
		entry(func(e *AuditEntry) { e.Namespace = "garden" }),
		// None of these changes anything.
		entry(func(e *AuditEntry) { e.Verb = "get" }),
		entry(func(e *AuditEntry) { e.Code = 409 }),
		entry(func(e *AuditEntry) { e.Stage = "ResponseStarted" }),
		entry(func(e *AuditEntry) { e.URI = "/x?dryRun=All" }),
	}
	all := CountWrites(entries)
	want := Writes{
		{"restic-manager-gateway", "hosts.backup.restic-manager.io/status"}: 3,
		{"restic-manager-gateway", "events.events.k8s.io"}:                  1,
		{"admin", "secrets"}: 1,
	}
	if diff := cmp.Diff(want, all); diff != "" {
		t.Errorf("writes (-want +got):\n%s", diff)
	}
	shop := CountWrites(entries, InNamespace("shop"), ByUser("restic-manager-gateway"))
	for what, c := range map[string]struct{ got, want int }{
		"all":                                {all.Total(), 5},
		"all of a resource":                  {all.Of("hosts/status"), 3},
		"all of a resource and its group":    {all.Of("hosts.backup.restic-manager.io/status"), 3},
		"the resource is not the status":     {all.Of("hosts"), 0},
		"a resource of the core group":       {all.Of("secrets"), 1},
		"by the admin":                       {all.By("admin"), 1},
		"by a service account":               {all.By(gateway), 4},
		"in a namespace, by one user":        {shop.Total(), 3},
		"in a namespace, of one resource":    {shop.Of("hosts/status"), 2},
		"by a user who wrote nothing":        {all.By("restic-manager-controller"), 0},
		"by a full name of a condition user": {CountWrites(entries, ByUser(gateway)).Total(), 4},
	} {
		if c.got != c.want {
			t.Errorf("%s: %d writes, want %d", what, c.got, c.want)
		}
	}
	if got, want := all.String(), "     3  restic-manager-gateway                   hosts.backup.restic-manager.io/status\n"+
		"     1  admin                                    secrets\n"+
		"     1  restic-manager-gateway                   events.events.k8s.io\n"; got != want {
		t.Errorf("table is\n%s, want\n%s", got, want)
	}
}
