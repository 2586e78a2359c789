package node

import (
	"context"
	"encoding/json"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// tell writes the Pod's status when it changed.
func (p *pod) tell(ctx context.Context, object *corev1.Pod) error {
	status := p.status(object)
	if equality.Semantic.DeepEqual(status, p.told) {
		return nil
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": object.UID}, "status": status})
	if err != nil {
		return err
	}
	_, err = p.node.client.CoreV1().Pods(object.Namespace).Patch(ctx, object.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil // it is gone
	}
	if err == nil {
		p.told = status
	}
	return err
}

// status is what a kubelet would say. Times are those of the program's start, so that nothing changes by itself.
func (p *pod) status(object *corev1.Pod) corev1.PodStatus {
	c := &object.Spec.Containers[0]
	ready := p.process != nil && object.DeletionTimestamp == nil && p.probes.ready(c)
	status := corev1.PodStatus{Phase: corev1.PodPending, PodIP: p.ip, PodIPs: []corev1.PodIP{{IP: p.ip}}, HostIP: gateway}
	container := corev1.ContainerStatus{Name: c.Name, Image: c.Image, Ready: ready, RestartCount: p.restarts, Started: new(p.process != nil)}
	switch {
	case p.process != nil:
		status.Phase = corev1.PodRunning
		container.State.Running = &corev1.ContainerStateRunning{StartedAt: p.process.started}
	case p.over(object):
		status.Phase = corev1.PodSucceeded
		if p.ended.ExitCode != 0 {
			status.Phase = corev1.PodFailed
		}
		container.State.Terminated = p.ended
	case p.waiting != "":
		container.State.Waiting = &corev1.ContainerStateWaiting{Reason: "ContainerCreating", Message: p.waiting}
	default:
		container.State.Waiting = &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}
	}
	if p.ended != nil && container.State.Terminated == nil {
		container.LastTerminationState.Terminated = p.ended
	}
	status.ContainerStatuses = []corev1.ContainerStatus{container}
	for _, condition := range []struct {
		kind corev1.PodConditionType
		is   bool
	}{{corev1.PodScheduled, true}, {corev1.PodInitialized, true}, {corev1.ContainersReady, ready}, {corev1.PodReady, ready}} {
		is := corev1.ConditionFalse
		if condition.is {
			is = corev1.ConditionTrue
		}
		status.Conditions = append(status.Conditions, corev1.PodCondition{Type: condition.kind, Status: is})
	}
	return status
}
