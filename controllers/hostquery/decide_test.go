package hostquery

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	testingclock "k8s.io/utils/clock/testing"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/controllers/internal/convert"
	"github.com/restic-manager/restic-manager/controllers/status"
)

var (
	created = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	// Of no machine and of no requester.
	testIdentity = wire.Identity{SigningKey: bytes.Repeat([]byte{1}, wire.KeySize), SealingKey: bytes.Repeat([]byte{2}, wire.KeySize)}
	testKey      = bytes.Repeat([]byte{3}, wire.KeySize)
)

func testHost() *v1alpha1.Host {
	return &v1alpha1.Host{ObjectMeta: metav1.ObjectMeta{Name: "web-1", Namespace: "shop"}, Spec: v1alpha1.HostSpec{
		Repository: v1alpha1.Repository{URL: "rest:https://backup.example.com/web-1"}, Identity: convert.HostIdentity(&testIdentity)}}
}

func testQuery() *v1alpha1.HostQuery {
	return &v1alpha1.HostQuery{ObjectMeta: metav1.ObjectMeta{Name: "q", Namespace: "shop", UID: "uid-of-q", CreationTimestamp: metav1.NewTime(created)},
		Spec: v1alpha1.HostQuerySpec{HostRef: v1alpha1.LocalReference{Name: "web-1"}, Kind: v1alpha1.QueryFiles, Parameters: []byte("sealed"), PublicKey: testKey,
			StreamSecretHash: wire.StreamSecretHash(make([]byte, wire.StreamSecretSize)), TTLSeconds: 600}}
}

func connectedIs(value metav1.ConditionStatus) func(*v1alpha1.HostQuery, **v1alpha1.Host) {
	return func(_ *v1alpha1.HostQuery, host **v1alpha1.Host) {
		meta.SetStatusCondition(&(*host).Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionConnected, Status: value, Reason: v1alpha1.ReasonDisconnected})
	}
}

func TestDecide(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*v1alpha1.HostQuery, **v1alpha1.Host)
		// want is the reason of Ready, with "stalled" where that is so.
		want string
		says string
	}{
		{"a query to an enrolled Host", nil, "Signed", "until 2026-03-01T12:10:00Z"},
		{"a query to a Host that is connected", connectedIs(metav1.ConditionTrue), "Signed", "signed: the answer can be collected"},
		{"a query to a Host that is not connected is signed, and says so", connectedIs(metav1.ConditionFalse), "Signed",
			`the agent of Host "web-1" is not connected (Disconnected)`},
		{"no Host", func(_ *v1alpha1.HostQuery, h **v1alpha1.Host) { *h = nil }, "HostNotFound", `spec.hostRef: there is no Host "web-1"`},
		{"a Host that is not enrolled", func(_ *v1alpha1.HostQuery, h **v1alpha1.Host) { (*h).Spec.Identity = nil }, "NotEnrolled", "Secret web-1-enrollment"},
		{"a Host with keys that are none", func(_ *v1alpha1.HostQuery, h **v1alpha1.Host) { (*h).Spec.Identity.SealingKey = "?" }, "Invalid", "spec.identity: sealingKey"},
		{"a key that nothing can be sealed to", func(q *v1alpha1.HostQuery, _ **v1alpha1.Host) { q.Spec.PublicKey = make([]byte, wire.KeySize) }, "Invalid stalled", "spec.publicKey"},
		{"a key that is too short, though there is no Host", func(q *v1alpha1.HostQuery, h **v1alpha1.Host) { q.Spec.PublicKey, *h = []byte{1}, nil }, "Invalid stalled", "create another"},
		{"a kind that this version does not know", func(q *v1alpha1.HostQuery, _ **v1alpha1.Host) { q.Spec.Kind = "Weather" }, "Invalid stalled", "Weather"},
	} {
		t.Run(test.name, func(t *testing.T) {
			query, host := testQuery(), testHost()
			if test.change != nil {
				test.change(query, &host)
			}
			d := decide(query, host)
			var conditions []metav1.Condition
			status.For(&conditions, 1, testingclock.NewFakePassiveClock(created)).Ready(d.err, v1alpha1.ReasonSigned, d.message)
			ready := meta.FindStatusCondition(conditions, v1alpha1.ConditionReady)
			got := ready.Reason
			if status.IsStalled(d.err) {
				got += " stalled"
			}
			if got != test.want || !strings.Contains(ready.Message, test.says) {
				t.Errorf("%s: %q; want %s with %q", got, ready.Message, test.want, test.says)
			}
			if (d.command != nil) != (test.want == "Signed") {
				t.Errorf("the command is %+v", d.command)
			}
		})
	}
}

func TestTheCommandSaysWhatWasAsked(t *testing.T) {
	want := &wire.HostQuery{Label: wire.HostQueryLabel, Host: wire.HostRef{Namespace: "shop", Name: "web-1"}, IdentityHash: testIdentity.Hash(), Name: "q", UID: "uid-of-q",
		NotAfter: created.Add(10 * time.Minute), Kind: wire.QueryFiles, Parameters: []byte("sealed"), PublicKey: testKey}
	if diff := cmp.Diff(want, decide(testQuery(), testHost()).command); diff != "" {
		t.Errorf("command (-want +got):\n%s", diff)
	}
}
