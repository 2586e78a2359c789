package webhook

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
)

func hostOf(edits ...func(*v1alpha1.Host)) *v1alpha1.Host {
	h := &v1alpha1.Host{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-1"}}
	h.Spec.Repository.URL = "rest:https://backup.example.com/web-1"
	for _, edit := range edits {
		edit(h)
	}
	return h
}

func groupOf(edits ...func(*v1alpha1.SourceGroup)) *v1alpha1.SourceGroup {
	g := &v1alpha1.SourceGroup{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "etc"}}
	g.Spec.HostRef, g.Spec.Includes = &v1alpha1.LocalReference{Name: "web-1"}, []string{"/etc"}
	for _, edit := range edits {
		edit(g)
	}
	return g
}

// What the schema refuses by itself stands here too: it may be an older one.
func TestWhatIsRefused(t *testing.T) {
	for _, tt := range []struct {
		name string
		errs field.ErrorList
		want []string
	}{
		{"a Host in order", refuseHost(hostOf()), nil},
		{"a Host whose URL holds a password is not quoted", refuseHost(hostOf(func(h *v1alpha1.Host) { h.Spec.Repository.URL = "https://user:secret@example.com" })),
			[]string{"spec.repository.url: Invalid value: begins with no backend that restic knows: begin it with one of azure, b2, gs, local, rclone, rest, s3, sftp, swift, or give an absolute path"}},
		{"a Host with windows in an unknown zone is not told what would count meanwhile",
			refuseHost(hostOf(func(h *v1alpha1.Host) { h.Spec.Bandwidth = &v1alpha1.Bandwidth{TimeZone: "Mars"} })),
			[]string{`spec.bandwidth.timeZone: Invalid value: timeZone "Mars" is not known: write an IANA name such as Europe/Zurich, or UTC`}},
		{"a Host with a window that is none", refuseHost(hostOf(func(h *v1alpha1.Host) {
			h.Spec.Bandwidth = &v1alpha1.Bandwidth{Windows: []v1alpha1.BandwidthWindow{{From: "8", To: "18:00"}}}
		})), []string{`spec.bandwidth: Invalid value: windows[0].from: "8" is not a time of day: write it as 15:04`}},
		{"a Host with a hook that is looked for in PATH", refuseHost(hostOf(func(h *v1alpha1.Host) {
			h.Spec.Hooks = &v1alpha1.Hooks{PreBackup: []v1alpha1.Hook{{Command: []string{"service", "stop"}}}}
		})), []string{`spec.hooks: Invalid value: preBackup[0].command: "service" is not an absolute path`}},
		{"a Host with keys that are none", refuseHost(hostOf(func(h *v1alpha1.Host) {
			h.Spec.Identity = &v1alpha1.HostIdentity{SigningKey: "%", SealingKey: someKey}
		})), []string{"spec.identity: Invalid value: signingKey is not base64"}},
		{"a group in order", refuseGroup(groupOf()), nil},
		{"a group with an empty retention is not told what would be kept meanwhile", refuseGroup(groupOf(func(g *v1alpha1.SourceGroup) { g.Spec.Retention = &v1alpha1.Retention{} })),
			[]string{"spec.retention: Invalid value: no rule: at least one keep rule is needed"}},
		{"a group with a file name that is a path", refuseGroup(groupOf(func(g *v1alpha1.SourceGroup) {
			g.Spec.Includes, g.Spec.Command, g.Spec.FileName = nil, []string{"/usr/bin/pg_dump"}, "../shop.dump"
		})), []string{`spec: Invalid value: fileName "../shop.dump" is not a plain file name`}},
		{"maintenance in order", refuseMaintenance(&v1alpha1.RepoMaintenance{Spec: v1alpha1.RepoMaintenanceSpec{Forget: &v1alpha1.Cadence{Cron: "@daily"}}}), nil},
		{"maintenance in an unknown zone is told once", refuseMaintenance(&v1alpha1.RepoMaintenance{Spec: v1alpha1.RepoMaintenanceSpec{
			TimeZone: "Mars", Forget: &v1alpha1.Cadence{Cron: "@daily"}, Prune: &v1alpha1.PruneCadence{Cadence: v1alpha1.Cadence{Cron: "@daily"}},
		}}), []string{`spec.timeZone: Invalid value: timeZone "Mars" is not known: write an IANA name such as Europe/Zurich, or UTC`}},
		{"maintenance with every fault", refuseMaintenance(&v1alpha1.RepoMaintenance{Spec: v1alpha1.RepoMaintenanceSpec{
			Selector: v1alpha1.Selector{HostSelector: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "role", Operator: "Near"}}}},
			Prune:    &v1alpha1.PruneCadence{Cadence: v1alpha1.Cadence{Cron: "0 0 31 2 *"}}, Verify: &v1alpha1.VerifyCadence{Cadence: v1alpha1.Cadence{Cron: ""}},
		}}), []string{
			`spec.hostSelector: Invalid value: "Near" is not a valid label selector operator`,
			`spec.prune.cron: Invalid value: cron "0 0 31 2 *" never fires: there is no such date`,
			`spec.verify.cron: Invalid value: cron is empty: write five fields such as "30 2 * * *", or one of @hourly, @daily, @midnight, @weekly, @monthly, @yearly, @annually`,
		}},
	} {
		var got []string
		for _, err := range tt.errs {
			got = append(got, err.Error())
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
		if strings.Contains(strings.Join(got, ""), "secret") {
			t.Errorf("%s: a password is quoted", tt.name)
		}
	}
}

func TestWhatAJobIsWarnedOf(t *testing.T) {
	job := func(edit func(*v1alpha1.HostJobSpec)) *v1alpha1.HostJob {
		j := &v1alpha1.HostJob{Spec: v1alpha1.HostJobSpec{HostRef: v1alpha1.LocalReference{Name: "web-1"}}}
		edit(&j.Spec)
		return j
	}
	elsewhere := groupOf(func(g *v1alpha1.SourceGroup) { g.Spec.HostRef.Name = "web-2" })
	for _, tt := range []struct {
		name         string
		job          *v1alpha1.HostJob
		host, target *v1alpha1.Host
		group        *v1alpha1.SourceGroup
		want         []string
	}{
		{"a backup in order", job(func(s *v1alpha1.HostJobSpec) {
			s.Kind, s.Backup = v1alpha1.HostJobBackup, &v1alpha1.BackupJob{SourceGroup: "etc"}
		}), hostOf(), hostOf(), groupOf(), nil},
		{"a target that does not exist", job(func(s *v1alpha1.HostJobSpec) {
			s.Kind, s.TargetRef = v1alpha1.HostJobPrune, &v1alpha1.LocalReference{Name: "db-1"}
		}), hostOf(), nil, nil, []string{`spec.targetRef: there is no Host "db-1" in this namespace: create it, or name another one`}},
		{"a drill of a group that does not exist", job(func(s *v1alpha1.HostJobSpec) {
			s.Kind, s.Verify = v1alpha1.HostJobVerify, &v1alpha1.VerifyJob{SourceGroup: "etc"}
		}), hostOf(), hostOf(), nil, []string{`spec.verify.sourceGroup: there is no SourceGroup "etc" in this namespace: create it, or name another one`}},
		{"the newest snapshot of a group that is for another Host by now", job(func(s *v1alpha1.HostJobSpec) {
			s.Kind, s.Restore = v1alpha1.HostJobRestore, &v1alpha1.RestoreJob{SourceGroup: "etc"}
		}), hostOf(), hostOf(), elsewhere, nil},
		{"a snapshot by its id needs no group", job(func(s *v1alpha1.HostJobSpec) {
			s.Kind, s.Restore = v1alpha1.HostJobRestore, &v1alpha1.RestoreJob{SourceGroup: "etc", Snapshot: "0123abcd"}
		}), hostOf(), hostOf(), nil, nil},
		{"a backup of a group for another Host", job(func(s *v1alpha1.HostJobSpec) {
			s.Kind, s.Backup = v1alpha1.HostJobBackup, &v1alpha1.BackupJob{SourceGroup: "etc"}
		}), hostOf(), hostOf(), elsewhere, []string{`spec.backup.sourceGroup: SourceGroup "etc" is not for Host "web-1": change its hostRef or hostSelector, or name another group`}},
	} {
		if diff := cmp.Diff(tt.want, aroundJob(tt.job, tt.host, tt.target, tt.group)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}
