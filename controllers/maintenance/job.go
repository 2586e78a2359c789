package maintenance

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/utils/ptr"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
)

const (
	// startingDeadline is how long a machine may take to accept a job: it was connected when the job was made.
	startingDeadline = 15 * time.Minute
	activeDeadline   = 24 * time.Hour
	// executedKept is how long a job that an executor did is kept at most, whatever the history says.
	executedKept = 30 * 24 * time.Hour
)

// Job is the HostJob of a run. Its name follows from the repository, the operation and the slot, so that the same run cannot be made twice.
func (r *Repository) Job(run *Run) *v1alpha1.HostJob {
	named := Anchor(r.Hosts)
	if run.Host != "" {
		named = run.Target
	}
	job := &v1alpha1.HostJob{ObjectMeta: metav1.ObjectMeta{
		Namespace: named.Namespace,
		Name:      jobName(named.Name, run.Operation, run.Slot),
		Labels: map[string]string{
			v1alpha1.LabelMaintenance: LabelValue(run.Maintenance.Name),
			v1alpha1.LabelOperation:   string(run.Operation),
			v1alpha1.LabelHost:        LabelValue(run.Target.Name),
		},
		Annotations: map[string]string{v1alpha1.AnnotationScheduleTime: run.Slot.UTC().Format(time.RFC3339)},
	}}
	job.Spec = v1alpha1.HostJobSpec{
		HostRef:                 v1alpha1.LocalReference{Name: run.Executor.Name},
		Kind:                    run.Operation.Kind(),
		StartingDeadlineSeconds: int64(startingDeadline / time.Second),
		ActiveDeadlineSeconds:   int64(activeDeadline / time.Second),
	}
	if run.Target.Name != run.Executor.Name {
		job.Spec.TargetRef = &v1alpha1.LocalReference{Name: run.Target.Name}
		// It belongs to the executor, and stays when the target is deleted: then nobody looks at the history of that repository any more.
		job.Spec.TTLSecondsAfterFinished = new(max(int32(executedKept/time.Second), ptr.Deref(run.Maintenance.Spec.SuccessTTLSeconds, 0)))
	}
	spec := &run.Maintenance.Spec
	switch run.Operation {
	case Prune:
		job.Spec.Prune = spec.Prune.PruneOptions.DeepCopy()
	case Check:
		if subset := nextSubset(spec.Check, r.recorded(Check, nil).ReadDataSubset); subset != "" {
			job.Spec.Check = &v1alpha1.CheckJob{ReadDataSubset: subset}
		}
	case Verify:
		job.Spec.Verify = &v1alpha1.VerifyJob{Sample: spec.Verify.Sample}
	}
	return job
}

// nextSubset is the part of the data that the next check reads; last is the one that was read last.
func nextSubset(cadence *v1alpha1.CheckCadence, last string) string {
	if cadence.ReadDataRotation == 0 {
		return cadence.ReadDataSubset
	}
	parts, next := int(cadence.ReadDataRotation), 1
	if n, of, ok := strings.Cut(last, "/"); ok && of == strconv.Itoa(parts) {
		if part, err := strconv.Atoi(n); err == nil && part < parts {
			next = part + 1
		}
	}
	return fmt.Sprintf("%d/%d", next, parts)
}

const maxName = 253

// jobName is <host>-<operation>-<unix minute of the slot>; the host's name is cut where the whole would be too long.
func jobName(host string, o Operation, slot time.Time) string {
	end := fmt.Sprintf("-%s-%d", o, slot.Unix()/60)
	return cut(host, maxName-len(end)) + end
}

// LabelValue is a name as the value of a label, cut where it is too long for one.
func LabelValue(name string) string { return cut(name, validation.LabelValueMaxLength) }

// cut replaces the end of a name that is too long by a part of its hash.
func cut(name string, limit int) string {
	if len(name) <= limit {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	hash := hex.EncodeToString(sum[:4])
	return strings.TrimRight(name[:limit-len(hash)-1], ".-") + "-" + hash
}
