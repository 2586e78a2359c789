package slim

import (
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
)

func set(name string) *v1alpha1.ScheduleSet {
	return &v1alpha1.ScheduleSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, UID: "1", ResourceVersion: "7", Labels: map[string]string{"role": "web"},
			ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "m"}}},
		Spec: v1alpha1.ScheduleSetSpec{
			Host:     v1alpha1.ScheduleSetHost{Name: name, UID: "2", Identity: v1alpha1.HostIdentity{SigningKey: "k", SealingKey: "s"}, Suspended: true, MintedSecretName: "m"},
			Revision: string([]byte("r1")), Serial: 5, Bundle: "bundle", Signatures: []v1alpha1.Signature{{KeyID: "k"}}, Credentials: []v1alpha1.SealedCredential{{Name: "c"}},
			Groups:    []v1alpha1.ScheduleSetGroup{{Name: string([]byte("etc")), Generation: 3}},
			Schedules: []v1alpha1.ScheduleSetSchedule{{Name: string([]byte("nightly")), Suspended: true, SourceGroups: []string{string([]byte("etc"))}}},
		},
		Status: v1alpha1.ScheduleSetStatus{AppliedRevision: string([]byte("r1")), Connection: &v1alpha1.Connection{Gateway: string([]byte("gw-1")), Session: 4, Process: "p"},
			Agent:   &v1alpha1.AgentStatus{Version: string([]byte("v1")), ResticVersion: string([]byte("0.19.1")), OS: "linux", Arch: "amd64", Hostname: name},
			Refusal: &v1alpha1.Refusal{Revision: "r0"}, NotAllowed: []v1alpha1.NotAllowed{{What: "hooks"}}},
	}
}

func TestASetKeepsWhatIsDecidedFromIt(t *testing.T) {
	objects := &Objects{}
	full := set("web-1")
	got, err := objects.Set(full.DeepCopy())
	if err != nil {
		t.Fatal(err)
	}
	want := full.DeepCopy()
	want.Labels, want.ManagedFields = nil, nil
	want.Spec.Bundle, want.Spec.Signatures, want.Spec.Credentials = "", nil, nil
	want.Spec.Host.Identity.SealingKey, want.Spec.Host.MintedSecretName = "", ""
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	again, err := objects.Set(got)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, again); diff != "" {
		t.Errorf("the second time:\n%s", diff)
	}
}

func TestWhatManySetsSayIsThereOnce(t *testing.T) {
	objects := &Objects{}
	var sets []*v1alpha1.ScheduleSet
	for _, name := range []string{"web-1", "web-2"} {
		s := set(name)
		if _, err := objects.Set(s); err != nil {
			t.Fatal(err)
		}
		sets = append(sets, s)
	}
	for name, of := range map[string]func(*v1alpha1.ScheduleSet) string{
		"group":    func(s *v1alpha1.ScheduleSet) string { return s.Spec.Groups[0].Name },
		"schedule": func(s *v1alpha1.ScheduleSet) string { return s.Spec.Schedules[0].Name },
		"fired":    func(s *v1alpha1.ScheduleSet) string { return s.Spec.Schedules[0].SourceGroups[0] },
		"version":  func(s *v1alpha1.ScheduleSet) string { return s.Status.Agent.Version },
		"restic":   func(s *v1alpha1.ScheduleSet) string { return s.Status.Agent.ResticVersion },
		"gateway":  func(s *v1alpha1.ScheduleSet) string { return s.Status.Connection.Gateway },
	} {
		if unsafe.StringData(of(sets[0])) != unsafe.StringData(of(sets[1])) {
			t.Errorf("the name of the %s is there twice", name)
		}
	}
	if s := sets[0]; unsafe.StringData(s.Status.AppliedRevision) != unsafe.StringData(s.Spec.Revision) {
		t.Error("the revision is there twice")
	}
}
