package metrics

import (
	"slices"

	"github.com/restic-manager/restic-manager/internal/metrictable"
)

// prefix begins the name of each metric.
const prefix = "restic_manager_"

// Names of the metrics about objects, without the prefix.
const (
	backupLastSuccess      = "backup_last_success_timestamp_seconds"
	backupLastFinish       = "backup_last_finish_timestamp_seconds"
	backupLastResult       = "backup_last_result"
	backupLastDuration     = "backup_last_duration_seconds"
	backupLastProcessed    = "backup_last_processed_bytes"
	backupLastAdded        = "backup_last_added_bytes"
	backupFailures         = "backup_consecutive_failures"
	backupExpectedInterval = "backup_expected_interval_seconds"
	backupOverdue          = "backup_overdue"
	backupDue              = "backup_due_timestamp_seconds"

	hostCondition    = "host_condition"
	hostInfo         = "host_info"
	hostOfflineGrace = "host_offline_grace_seconds"
	hostDisconnected = "host_disconnected_timestamp_seconds"
	hostNextRun      = "host_next_run_timestamp_seconds"
	hostClockSkew    = "host_clock_skew_seconds"
	hostSuspended    = "host_suspended"

	maintenanceLastSuccess = "maintenance_last_success_timestamp_seconds"
	maintenanceLastFinish  = "maintenance_last_finish_timestamp_seconds"
	maintenanceFailures    = "maintenance_consecutive_failures"
	maintenanceNextRun     = "maintenance_next_run_timestamp_seconds"

	repositoryLock      = "repository_lock_present"
	repositorySnapshots = "repository_snapshots"
	repositoryRaw       = "repository_raw_bytes"
	repositoryRestore   = "repository_restore_bytes"
	repositoryFuture    = "repository_future_snapshots"

	sourceGroupHosts = "source_group_hosts"
	scheduleHosts    = "schedule_hosts"

	keyWaiting   = "signing_key_rotation_waiting_hosts"
	hostsOmitted = "metrics_hosts_omitted"
	leader       = "leader"
)

// Families lists every metric that the controllers export beside those of controller-runtime.
func Families() []metrictable.Family {
	host := []string{"namespace", "host"}
	group := append(slices.Clone(host), "source_group")
	operation := append(slices.Clone(host), "operation")
	gauge := func(name, help string, labels []string, more ...string) metrictable.Family {
		return metrictable.Family{Name: prefix + name, Type: metrictable.Gauge, Help: help, Labels: slices.Concat(labels, more)}
	}
	return []metrictable.Family{
		gauge(backupLastSuccess, "When a backup of the source group last succeeded, Unix time. Absent before the first success.", group),
		gauge(backupLastFinish, "When the last backup of the source group ended, Unix time.", group),
		gauge(backupLastResult, "1 for the result of the last backup: Succeeded, CompletedWithErrors, Failed or Cancelled.", group, "result"),
		gauge(backupLastDuration, "How long the last backup took, in seconds.", group),
		gauge(backupLastProcessed, "Size of the files in the last backup, in bytes.", group),
		gauge(backupLastAdded, "New data of the last backup as stored, in bytes.", group),
		gauge(backupFailures, "Failed backups since the last one that wrote a snapshot.", group),
		gauge(backupExpectedInterval, "Time from the next run to the one after it, in seconds: the shortest of the Schedules that fire the source group and are not suspended.", group),
		gauge(backupOverdue, "1 while a backup that a Schedule fires is overdue, else 0.", group),
		gauge(backupDue, "When the overdue backup was due, Unix time. Absent while nothing is overdue.", group),

		gauge(hostCondition, "1 for the present status (True, False, Unknown) of each condition of the Host.", host, "type", "status"),
		gauge(hostInfo, "Always 1; the labels tell what the machine runs.", host, "agent_version", "restic_version", "os", "arch"),
		gauge(hostOfflineGrace, "spec.offlineGrace, in seconds; 0 for none.", host),
		gauge(hostDisconnected, "Since when the machine is not connected, Unix time. Absent while it is, and before its first connection.", host),
		gauge(hostNextRun, "When the next Schedule runs on the machine, its jitter included, Unix time.", host),
		gauge(hostClockSkew, "The machine's clock minus the gateway's when it last connected, in seconds.", host),
		gauge(hostSuspended, "1 while spec.suspend stops the Host's scheduled work, else 0.", host),

		gauge(maintenanceLastSuccess, "When the operation (forget, prune, check, verify) last succeeded, Unix time. Absent before the first success.", operation),
		gauge(maintenanceLastFinish, "When the last run of the operation ended, Unix time.", operation),
		gauge(maintenanceFailures, "Failed runs of the operation since its last success.", operation),
		gauge(maintenanceNextRun, "When the operation is due next, Unix time. Absent while it is not asked for, or suspended.", operation),

		gauge(repositoryLock, "1 while the last job waits for, or failed on, somebody else's lock, else 0.", host),
		gauge(repositorySnapshots, "Snapshots of the Host in its repository.", host),
		gauge(repositoryRaw, "Data that the snapshots of the repository refer to, of all hosts, in bytes.", host),
		gauge(repositoryRestore, "Size of the files in the newest snapshot of each source group, in bytes.", host),
		gauge(repositoryFuture, "Snapshots that are dated in the future.", host),

		gauge(sourceGroupHosts, "Hosts of the SourceGroup by state: matched, applied, succeeded, failing, never_ran, overdue.", []string{"namespace", "source_group", "state"}),
		gauge(scheduleHosts, "Hosts of the Schedule by state: matched, applied, succeeded, failing, never_ran, overdue.", []string{"namespace", "schedule", "state"}),

		gauge(hostsOmitted, "Hosts without series of their own, since there are more than --metrics-host-limit.", nil),
		gauge(keyWaiting, "Enrolled machines that have not heard yet of the signing keys that a rotation put in force. Absent while no rotation is under way.", nil),
		gauge(leader, "1 on the replica that leads and exports what is about objects, 0 on the others.", nil),
		{Name: apiWrites, Type: metrictable.Counter, Help: "Requests of this replica that change something at the API server, by resource, verb and class of the answer (2xx, 4xx, 5xx, error).",
			Labels: []string{"resource", "verb", "code"}},
	}
}
