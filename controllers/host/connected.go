package host

import (
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
)

// verdictOn is a condition as it should be, and after how long to look again; 0 for on the next event.
type verdictOn struct {
	status  metav1.ConditionStatus
	reason  string
	message string
	again   time.Duration
}

// connected judges the newest connection of a machine. before is the condition as it stands, nil for none; gateway is what is known of
// the replica that holds the session.
func connected(connection *v1alpha1.Connection, gateway Life, before *metav1.Condition, now time.Time) verdictOn {
	yes := verdictOn{status: metav1.ConditionTrue, reason: v1alpha1.ReasonSessionEstablished, message: "the agent holds a session with the gateway"}
	gone := verdictOn{status: metav1.ConditionFalse, reason: v1alpha1.ReasonGatewayLost,
		message: "the gateway replica that held the agent's session is gone, and the agent has not come back for " + wire.OfflineAfter.String()}
	switch {
	case connection == nil:
		return verdictOn{status: metav1.ConditionFalse, reason: v1alpha1.ReasonNeverConnected,
			message: "no agent has connected yet: enrol the machine and start the agent (restic-manager-agent run)"}
	case connection.DisconnectedTime != nil:
		return verdictOn{status: metav1.ConditionFalse, reason: v1alpha1.ReasonDisconnected,
			message: "the agent's last session ended at " + connection.DisconnectedTime.UTC().Format(time.RFC3339) + ": see the agent's log on the machine"}
	case gateway.State == Alive:
		return yes
	case before != nil && before.Status == metav1.ConditionFalse && before.Reason == v1alpha1.ReasonGatewayLost:
		return gone // nothing has been seen of it since
	case gateway.State == Unproven:
		return yes
	}
	if left := gateway.LostAt.Add(wire.OfflineAfter).Sub(now); left > 0 {
		yes.again = left
		return yes
	}
	return gone
}

func condition(host *v1alpha1.Host, kind string) *metav1.Condition {
	return meta.FindStatusCondition(host.Status.Conditions, kind)
}
