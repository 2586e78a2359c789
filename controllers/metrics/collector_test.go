package metrics

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	testingclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/internal/metrictable"
)

var now = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

func at(hour int) *metav1.Time {
	return &metav1.Time{Time: time.Date(2026, 3, 2, hour, 0, 0, 0, time.UTC)}
}

// collector reads these objects; closed leads.
func collector(t *testing.T, leads bool, limit int, objects ...client.Object) *Collector {
	t.Helper()
	kinds := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(kinds); err != nil {
		t.Fatal(err)
	}
	elected := make(chan struct{})
	if leads {
		close(elected)
	}
	return New(Options{
		Reader: fake.NewClientBuilder().WithScheme(kinds).WithObjects(objects...).Build(), Elected: elected, HostLimit: limit,
		Clock: testingclock.NewFakePassiveClock(now), Logger: slog.New(slog.DiscardHandler),
	})
}

func host(name string) *v1alpha1.Host {
	h := &v1alpha1.Host{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}}
	h.Spec.OfflineGrace = &metav1.Duration{Duration: time.Hour}
	h.Status = v1alpha1.HostStatus{
		Conditions: []metav1.Condition{
			{Type: v1alpha1.ConditionConnected, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonDisconnected, LastTransitionTime: *at(10)},
			{Type: v1alpha1.ConditionBackupsCurrent, Status: metav1.ConditionUnknown, Reason: v1alpha1.ReasonHostOffline},
		},
		Agent: &v1alpha1.AgentStatus{Version: "v0.1.0", ResticVersion: "0.19.1", OS: "linux", Arch: "arm64", ClockSkewSeconds: -3},
		Schedules: []v1alpha1.HostSchedule{
			{Name: "nightly", Cron: "30 2 * * *", TimeZone: "UTC", SourceGroups: []v1alpha1.HostScheduleGroup{{Name: "etc"}, {Name: "home"}}},
			{Name: "hourly", Cron: "@hourly", TimeZone: "UTC", SourceGroups: []v1alpha1.HostScheduleGroup{{Name: "etc"}}},
			{Name: "often", Cron: "* * * * *", TimeZone: "UTC", Suspended: true, SourceGroups: []v1alpha1.HostScheduleGroup{{Name: "home"}}},
		},
		NextRunTime: at(13),
		Overdue:     []v1alpha1.OverdueBackup{{SourceGroup: "etc", Schedule: "hourly", DueTime: *at(11)}},
		SourceGroups: []v1alpha1.SourceGroupResult{{
			Name: "etc", Result: v1alpha1.ResultFailed, StartTime: at(9), FinishTime: &metav1.Time{Time: at(9).Add(90 * time.Second)}, LastSuccessTime: at(8), ConsecutiveFailures: 2,
			Backup: &v1alpha1.BackupSummary{BytesProcessed: 2048, BytesStored: 512},
		}},
		Maintenance: &v1alpha1.MaintenanceStatus{
			Check: &v1alpha1.OperationStatus{LastSuccessTime: at(1), FinishTime: at(2), ConsecutiveFailures: 1, NextScheduleTime: at(20)},
		},
		Repository: &v1alpha1.RepositoryStatus{State: "Ready", LockPresent: true, Stats: &v1alpha1.RepositoryStats{Snapshots: 7, RestoreBytes: 4096, FutureSnapshots: 1, RawBytes: 1024, RawTime: at(3)}},
	}
	return h
}

// seconds of Unix time at an hour of the test's day, as Prometheus writes it.
func TestTheSeriesOfAHost(t *testing.T) {
	group := &v1alpha1.SourceGroup{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "etc"}}
	group.Status.FleetSummary = v1alpha1.FleetSummary{HostsMatched: 3, HostsApplied: 2, HostsFailing: 1, HostsOverdue: 1, HostsSucceeded: 1, HostsNeverRan: 1}
	const want = `
restic_manager_backup_consecutive_failures{host="web-1",namespace="shop",source_group="etc"} 2
restic_manager_backup_due_timestamp_seconds{host="web-1",namespace="shop",source_group="etc"} 1.7724492e+09
restic_manager_backup_expected_interval_seconds{host="web-1",namespace="shop",source_group="etc"} 3600
restic_manager_backup_expected_interval_seconds{host="web-1",namespace="shop",source_group="home"} 86400
restic_manager_backup_last_added_bytes{host="web-1",namespace="shop",source_group="etc"} 512
restic_manager_backup_last_duration_seconds{host="web-1",namespace="shop",source_group="etc"} 90
restic_manager_backup_last_processed_bytes{host="web-1",namespace="shop",source_group="etc"} 2048
restic_manager_backup_last_result{host="web-1",namespace="shop",result="Failed",source_group="etc"} 1
restic_manager_backup_last_success_timestamp_seconds{host="web-1",namespace="shop",source_group="etc"} 1.7724384e+09
restic_manager_backup_overdue{host="web-1",namespace="shop",source_group="etc"} 1
restic_manager_backup_overdue{host="web-1",namespace="shop",source_group="home"} 0
restic_manager_host_clock_skew_seconds{host="web-1",namespace="shop"} -3
restic_manager_host_condition{host="web-1",namespace="shop",status="False",type="Connected"} 1
restic_manager_host_condition{host="web-1",namespace="shop",status="Unknown",type="BackupsCurrent"} 1
restic_manager_host_disconnected_timestamp_seconds{host="web-1",namespace="shop"} 1.7724456e+09
restic_manager_host_info{agent_version="v0.1.0",arch="arm64",host="web-1",namespace="shop",os="linux",restic_version="0.19.1"} 1
restic_manager_host_next_run_timestamp_seconds{host="web-1",namespace="shop"} 1.7724564e+09
restic_manager_host_offline_grace_seconds{host="web-1",namespace="shop"} 3600
restic_manager_host_suspended{host="web-1",namespace="shop"} 0
restic_manager_leader 1
restic_manager_maintenance_consecutive_failures{host="web-1",namespace="shop",operation="check"} 1
restic_manager_metrics_hosts_omitted 0
restic_manager_repository_future_snapshots{host="web-1",namespace="shop"} 1
restic_manager_repository_lock_present{host="web-1",namespace="shop"} 1
restic_manager_repository_raw_bytes{host="web-1",namespace="shop"} 1024
restic_manager_repository_restore_bytes{host="web-1",namespace="shop"} 4096
restic_manager_repository_snapshots{host="web-1",namespace="shop"} 7
restic_manager_source_group_hosts{namespace="shop",source_group="etc",state="applied"} 2
restic_manager_source_group_hosts{namespace="shop",source_group="etc",state="failing"} 1
restic_manager_source_group_hosts{namespace="shop",source_group="etc",state="matched"} 3
restic_manager_source_group_hosts{namespace="shop",source_group="etc",state="never_ran"} 1
restic_manager_source_group_hosts{namespace="shop",source_group="etc",state="overdue"} 1
restic_manager_source_group_hosts{namespace="shop",source_group="etc",state="succeeded"} 1
`
	checkSeries(t, collector(t, true, 0, host("web-1"), group), want)
}

// checkSeries compares the series of the metrics that are named in want, whatever their help texts.
func checkSeries(t *testing.T, c prometheus.Collector, want string) {
	t.Helper()
	help := map[string]metrictable.Family{}
	for _, f := range Families() {
		help[f.Name] = f
	}
	var text strings.Builder
	var names []string
	for line := range strings.Lines(strings.TrimSpace(want)) {
		name := line[:strings.IndexAny(line, "{ ")]
		if !slices.Contains(names, name) {
			names = append(names, name)
			text.WriteString("# HELP " + name + " " + help[name].Help + "\n# TYPE " + name + " gauge\n")
		}
		text.WriteString(line)
	}
	text.WriteString("\n")
	if err := testutil.CollectAndCompare(c, strings.NewReader(text.String()), names...); err != nil {
		t.Error(err)
	}
}

func TestAReplicaThatDoesNotLeadExportsNothingAboutObjects(t *testing.T) {
	c := collector(t, false, 0, host("web-1"))
	checkSeries(t, c, "restic_manager_leader 0")
	if n := testutil.CollectAndCount(c); n != 1 {
		t.Errorf("%d series, want the one that says so", n)
	}
}

func TestARotationOfTheKeysIsCountedWhileItLasts(t *testing.T) {
	c := collector(t, true, 0)
	without := testutil.CollectAndCount(c)
	underway := true
	c.o.KeyRotation = func() (int, bool) { return 3, underway }
	checkSeries(t, c, "restic_manager_signing_key_rotation_waiting_hosts 3")
	underway = false
	if n := testutil.CollectAndCount(c); n != without {
		t.Errorf("%d series after it, want %d", n, without)
	}
}

func TestTheNumberOfHostsIsBounded(t *testing.T) {
	c := collector(t, true, 2, host("c"), host("a"), host("b"))
	checkSeries(t, c, `
restic_manager_host_suspended{host="a",namespace="shop"} 0
restic_manager_host_suspended{host="b",namespace="shop"} 0
restic_manager_metrics_hosts_omitted 1
`)
}

func TestAHostThatNobodyEnrolledHasNoTimes(t *testing.T) {
	bare := &v1alpha1.Host{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "new"}}
	bare.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionConnected, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonNeverConnected}}
	c := collector(t, true, 0, bare)
	for _, name := range []string{backupLastSuccess, hostDisconnected, hostNextRun, hostInfo, repositoryLock} {
		if n := testutil.CollectAndCount(c, prefix+name); n != 0 {
			t.Errorf("%d series of %s, want none", n, name)
		}
	}
}

func TestEveryFamilyIsDescribedAndWellNamed(t *testing.T) {
	problems, err := testutil.CollectAndLint(collector(t, true, 0, host("web-1")))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	for _, f := range Families() {
		if f.Help == "" || !strings.HasPrefix(f.Name, prefix) {
			t.Errorf("%s has no help or another prefix", f.Name)
		}
	}
}

// unreadable is a cache that has not heard from the API server.
type unreadable struct{ client.Reader }

func (unreadable) List(context.Context, client.ObjectList, ...client.ListOption) error {
	return errors.New("the cache is not synced")
}

func TestAScrapeFailsWhenTheFleetCannotBeRead(t *testing.T) {
	c := collector(t, true, 0)
	c.o.Reader = unreadable{}
	registry := prometheus.NewRegistry()
	registry.MustRegister(c)
	if _, err := registry.Gather(); err == nil || !strings.Contains(err.Error(), "the cache is not synced") {
		t.Errorf("the scrape ends with %v, want what is wrong", err)
	}
}
