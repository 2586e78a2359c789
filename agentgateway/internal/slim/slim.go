// Package slim leaves of a cached object what the gateway decides from. Each replica has the ScheduleSet of every Host, so what is dropped here is dropped ten thousand
// times.
//
// # Use
//
//	objects := &slim.Objects{}
//	cache.ByObject{Transform: objects.Set}
//	set := objects.Whole(cached) // nil: read it from the API server
//
// What is written is the difference between two statuses, so what is left out is never written. Who needs more of an object reads it from the API
// server; whoever decides from a field that is missing here is to add it, and the tests of what decides go through here.
package slim

import (
	"slices"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
)

// maxTexts bounds the texts that are kept once; names of groups, schedules, namespaces and replicas, and versions, are far fewer. A machine that says ever new versions only costs
// others the sharing of what comes later.
const maxTexts = 10_000

// Objects slims ScheduleSets and keeps once what many of them say. The zero value is ready. Safe for concurrent use.
type Objects struct {
	mu    sync.Mutex
	texts map[string]string

	unsent unsent
}

// once returns the one copy of a text.
func (o *Objects) once(text string) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if kept, ok := o.texts[text]; ok {
		return kept
	}
	if o.texts == nil || len(o.texts) >= maxTexts {
		o.texts = map[string]string{}
	}
	o.texts[text] = text
	return text
}

// Set is a cache's transform: it drops the bundle, signatures and credentials, and what only people look at. Those of what is about to be sent are there for a while by
// Whole; later they are read from the API server.
func (o *Objects) Set(object any) (any, error) {
	set, ok := object.(*v1alpha1.ScheduleSet)
	if !ok {
		return object, nil
	}
	o.unsent.note(set)
	set.TypeMeta = metav1.TypeMeta{}
	set.ObjectMeta = metav1.ObjectMeta{
		Namespace: o.once(set.Namespace), Name: set.Name, UID: set.UID, ResourceVersion: set.ResourceVersion, Generation: set.Generation,
		DeletionTimestamp: set.DeletionTimestamp,
	}
	spec := set.Spec
	set.Spec = v1alpha1.ScheduleSetSpec{
		Host: v1alpha1.ScheduleSetHost{
			Name: set.Name, UID: spec.Host.UID, Identity: v1alpha1.HostIdentity{SigningKey: spec.Host.Identity.SigningKey}, Suspended: spec.Host.Suspended,
		},
		Tombstone: spec.Tombstone, Revision: spec.Revision, Serial: spec.Serial,
		Groups: slices.Clone(spec.Groups), Schedules: slices.Clone(spec.Schedules),
	}
	for i := range set.Spec.Groups {
		set.Spec.Groups[i].Name = o.once(set.Spec.Groups[i].Name)
	}
	for i := range set.Spec.Schedules {
		schedule := &set.Spec.Schedules[i]
		schedule.Name, schedule.SourceGroups = o.once(schedule.Name), slices.Clone(schedule.SourceGroups)
		for g, name := range schedule.SourceGroups {
			schedule.SourceGroups[g] = o.once(name)
		}
	}
	if c := set.Status.Connection; c != nil {
		c.Gateway = o.once(c.Gateway)
	}
	if a := set.Status.Agent; a != nil {
		for _, text := range []*string{&a.Version, &a.ResticVersion, &a.OS, &a.Arch} {
			*text = o.once(*text)
		}
	}
	for _, revision := range []*string{&set.Status.AppliedRevision, &set.Status.OfferedRevision} {
		if *revision == set.Spec.Revision {
			*revision = set.Spec.Revision // the same copy
		}
	}
	return set, nil
}

// Job is a cache's transform: it keeps the command and the sealed credentials of a job that may still have to be sent, with what is written of it until it ends, and next to nothing
// of a finished one.
func Job(object any) (any, error) {
	job, ok := object.(*v1alpha1.HostJob)
	if !ok {
		return object, nil
	}
	job.ManagedFields = nil
	job.Status.LogTail, job.Status.Result, job.Status.Conditions = "", nil, nil
	if job.Status.Phase.Finished() {
		job.Spec = v1alpha1.HostJobSpec{HostRef: job.Spec.HostRef, Kind: job.Spec.Kind}
		job.Status.Command, job.Status.CancelCommand, job.Status.Credentials, job.Status.Progress = nil, nil, nil, nil
	}
	return job, nil
}

// Query is a cache's transform: it drops what the signed command says too.
func Query(object any) (any, error) {
	if query, ok := object.(*v1alpha1.HostQuery); ok {
		query.ManagedFields = nil
		query.Spec.Parameters, query.Spec.PublicKey = nil, nil
		query.Status.Conditions, query.Status.Gateway = nil, nil
	}
	return object, nil
}
