package host

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/controllers/status"
)

// news is what people are told of by an Event.
type news struct{ kind, reason, action, note string }

// newsOf is what a change of a Host's conditions is worth telling: backups that fall overdue and recover, and a session that ended with its gateway, of which no
// gateway is there to tell.
func newsOf(before, after *v1alpha1.Host) []news {
	var all []news
	was, is := condition(before, v1alpha1.ConditionConnected), condition(after, v1alpha1.ConditionConnected)
	if was != nil && is != nil && was.Status == metav1.ConditionTrue && is.Reason == v1alpha1.ReasonGatewayLost {
		all = append(all, news{corev1.EventTypeWarning, v1alpha1.EventDisconnected, "Connect", is.Message})
	}
	was, is = condition(before, v1alpha1.ConditionBackupsCurrent), condition(after, v1alpha1.ConditionBackupsCurrent)
	if is == nil {
		return all
	}
	late := was != nil && was.Status == metav1.ConditionFalse
	switch {
	case !late && is.Status == metav1.ConditionFalse:
		all = append(all, news{corev1.EventTypeWarning, v1alpha1.EventBackupsOverdue, "Judge", is.Message})
	case late && is.Status != metav1.ConditionFalse:
		all = append(all, news{corev1.EventTypeNormal, v1alpha1.EventBackupsRecovered, "Judge", "backups are not overdue any more: " + is.Message})
	}
	return all
}

func (r *Reconciler) announce(host *v1alpha1.Host, all []news) {
	for _, n := range all {
		r.Recorder.Eventf(host, nil, n.kind, n.reason, n.action, "%s", wire.Cut(n.note, status.MaxNote))
	}
}
