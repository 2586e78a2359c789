package job

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/utils/ptr"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
)

// Facts are what a request is planned from.
type Facts struct {
	Host *v1alpha1.Host
	// Groups of the host, from its set.
	Groups []string
	// Maintenances of the namespace.
	Maintenances []v1alpha1.RepoMaintenance
}

// Request is what a person wants to run.
type Request struct {
	Kind v1alpha1.HostJobKind
	// Group narrows it to one source group.
	Group string
	// ReadDataSubset of a check, Sample of a verify, MaxUnused of a prune.
	ReadDataSubset string
	Sample         int32
	// TTL deletes the job so many seconds after its end; nil keeps it.
	TTL *int32
}

// Plan makes the HostJobs that a request means: for a backup one for each group, else one.
func Plan(f Facts, r Request) ([]*v1alpha1.HostJob, error) {
	if err := checkGroup(f, r); err != nil {
		return nil, err
	}
	if r.Kind != v1alpha1.HostJobBackup || r.Group != "" {
		return []*v1alpha1.HostJob{one(f, r)}, nil
	}
	if len(f.Groups) == 0 {
		return nil, fmt.Errorf("no source group is for host %s: create a SourceGroup whose hostRef or hostSelector means it", f.Host.Name)
	}
	var jobs []*v1alpha1.HostJob
	for _, group := range f.Groups {
		r.Group = group
		jobs = append(jobs, one(f, r))
	}
	return jobs, nil
}

func checkGroup(f Facts, r Request) error {
	if r.Group == "" {
		return nil
	}
	switch r.Kind {
	case v1alpha1.HostJobBackup, v1alpha1.HostJobForget, v1alpha1.HostJobVerify:
	default:
		return fmt.Errorf("--group is for backup, forget and verify: a %s is of the whole repository", strings.ToLower(string(r.Kind)))
	}
	if len(f.Groups) > 0 && !slices.Contains(f.Groups, r.Group) {
		return fmt.Errorf("source group %q is not for host %s; its groups are %s", r.Group, f.Host.Name, strings.Join(f.Groups, ", "))
	}
	return nil
}

// one makes a HostJob.
func one(f Facts, r Request) *v1alpha1.HostJob {
	name := strings.ToLower(string(r.Kind)) + "-" + f.Host.Name
	j := &v1alpha1.HostJob{
		ObjectMeta: metav1.ObjectMeta{Namespace: f.Host.Namespace, GenerateName: name[:min(len(name), 240)] + "-"},
		Spec:       v1alpha1.HostJobSpec{HostRef: v1alpha1.LocalReference{Name: f.Host.Name}, Kind: r.Kind, TTLSecondsAfterFinished: r.TTL},
	}
	switch r.Kind {
	case v1alpha1.HostJobBackup:
		j.Spec.Backup = &v1alpha1.BackupJob{SourceGroup: r.Group}
	case v1alpha1.HostJobForget:
		if r.Group != "" {
			j.Spec.Forget = &v1alpha1.ForgetJob{SourceGroup: r.Group}
		}
	case v1alpha1.HostJobCheck:
		if r.ReadDataSubset != "" {
			j.Spec.Check = &v1alpha1.CheckJob{ReadDataSubset: r.ReadDataSubset}
		}
	case v1alpha1.HostJobVerify:
		if r.Group != "" || r.Sample > 0 {
			j.Spec.Verify = &v1alpha1.VerifyJob{SourceGroup: r.Group, Sample: r.Sample}
		}
	}
	if executor := executorOf(f, r.Kind); executor != "" {
		j.Spec.HostRef.Name, j.Spec.TargetRef = executor, &v1alpha1.LocalReference{Name: f.Host.Name}
	}
	return j
}

// executorOf is the Host that does maintenance for another one; empty where it does its own. Of several RepoMaintenances those with an executorRef come first, then
// the oldest.
func executorOf(f Facts, kind v1alpha1.HostJobKind) string {
	switch kind {
	case v1alpha1.HostJobForget, v1alpha1.HostJobPrune, v1alpha1.HostJobCheck:
	default:
		return ""
	}
	var with []v1alpha1.RepoMaintenance
	for _, m := range f.Maintenances {
		if m.Spec.ExecutorRef != nil && selects(m.Spec.Selector, f.Host) {
			with = append(with, m)
		}
	}
	if len(with) == 0 {
		return ""
	}
	first := slices.MinFunc(with, func(a, b v1alpha1.RepoMaintenance) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
	})
	if first.Spec.ExecutorRef.Name == f.Host.Name {
		return ""
	}
	return first.Spec.ExecutorRef.Name
}

func selects(s v1alpha1.Selector, host *v1alpha1.Host) bool {
	if s.HostRef != nil {
		return s.HostRef.Name == host.Name
	}
	selector, err := metav1.LabelSelectorAsSelector(s.HostSelector)
	return err == nil && selector.Matches(labels.Set(host.Labels))
}

// Kinds that run takes, as they are written on the command line.
func Kinds() []string {
	return []string{"backup", "forget", "prune", "check", "verify", "unlock", "init"}
}

// ParseKind reads one.
func ParseKind(text string) (v1alpha1.HostJobKind, error) {
	if !slices.Contains(Kinds(), text) {
		return "", fmt.Errorf("%q cannot be run: one of %s", text, strings.Join(Kinds(), ", "))
	}
	return v1alpha1.HostJobKind(strings.ToUpper(text[:1]) + text[1:]), nil
}

// Fleeting deletes a job some minutes after its end: for what only the person at the terminal wanted to know.
func Fleeting() *int32 { return ptr.To(int32(600)) }
