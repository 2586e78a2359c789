package api

// Objects that are accepted as they stand.
const (
	host = `
apiVersion: backup.restic-manager.io/v1alpha1
kind: Host
metadata: {name: web-1}
spec:
  repository:
    url: rest:https://backup.example.com/web-1
    credentialsSecretRef: {name: web-1-repo}
`
	sourceGroup = `
apiVersion: backup.restic-manager.io/v1alpha1
kind: SourceGroup
metadata: {name: etc}
spec:
  hostRef: {name: web-1}
  includes: [/etc]
`
	schedule = `
apiVersion: backup.restic-manager.io/v1alpha1
kind: Schedule
metadata: {name: nightly}
spec:
  cron: "30 2 * * *"
  sourceGroups: [etc]
`
	repoMaintenance = `
apiVersion: backup.restic-manager.io/v1alpha1
kind: RepoMaintenance
metadata: {name: web-1}
spec:
  hostRef: {name: web-1}
  prune: {cron: "0 6 * * 0"}
`
	backupJob = `
apiVersion: backup.restic-manager.io/v1alpha1
kind: HostJob
metadata: {generateName: backup-}
spec:
  hostRef: {name: web-1}
  kind: Backup
  backup: {sourceGroup: etc}
`
	restoreJob = `
apiVersion: backup.restic-manager.io/v1alpha1
kind: HostJob
metadata: {generateName: restore-}
spec:
  hostRef: {name: web-1}
  kind: Restore
  restore: {sourceGroup: etc}
`
	initJob = `
apiVersion: backup.restic-manager.io/v1alpha1
kind: HostJob
metadata: {generateName: init-}
spec:
  hostRef: {name: web-1}
  kind: Init
`
	forgetJob = `
apiVersion: backup.restic-manager.io/v1alpha1
kind: HostJob
metadata: {generateName: forget-}
spec:
  hostRef: {name: vault}
  targetRef: {name: web-1}
  kind: Forget
  forget: {sourceGroup: etc}
`
	pruneJob = `
apiVersion: backup.restic-manager.io/v1alpha1
kind: HostJob
metadata: {generateName: prune-}
spec:
  hostRef: {name: vault}
  targetRef: {name: web-1}
  kind: Prune
  prune: {maxRepackSize: 10G}
`
	checkJob = `
apiVersion: backup.restic-manager.io/v1alpha1
kind: HostJob
metadata: {generateName: check-}
spec:
  hostRef: {name: web-1}
  kind: Check
  check: {readDataSubset: "5%"}
`
	unlockJob = `
apiVersion: backup.restic-manager.io/v1alpha1
kind: HostJob
metadata: {generateName: unlock-}
spec:
  hostRef: {name: web-1}
  kind: Unlock
`
	verifyJob = `
apiVersion: backup.restic-manager.io/v1alpha1
kind: HostJob
metadata: {generateName: verify-}
spec:
  hostRef: {name: web-1}
  kind: Verify
  verify: {sourceGroup: etc}
`
	logQuery = `
apiVersion: backup.restic-manager.io/v1alpha1
kind: HostQuery
metadata: {generateName: log-}
spec:
  hostRef: {name: web-1}
  kind: Log
  parameters: c2VhbGVk
  publicKey: +/hV1iF6iJdmzgXxMK5MHv2QVWTNTxpz7bWvbGZKPUA=
  streamSecretHash: 66687aadf862bd776c8fc18b8e9f8e20089714856ee233b3902a591d0d5f2925
`
	dumpGroup = `
apiVersion: backup.restic-manager.io/v1alpha1
kind: SourceGroup
metadata: {name: db}
spec:
  hostRef: {name: web-1}
  command: [/usr/bin/pg_dump, shop]
  fileName: shop.dump
`
	scheduleSet = `
apiVersion: backup.restic-manager.io/v1alpha1
kind: ScheduleSet
metadata: {name: web-1}
spec:
  host:
    name: web-1
    uid: 5d9a
    identity:
      signingKey: AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=
      sealingKey: AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=
  revision: r1
  serial: 1
  bundle: "{}"
  signatures: []
`
	identityA = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
	identityB = "BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBA="
)

// hooks is one that freezes before the backup.
func hooks(change ...fields) map[string]any {
	hook := map[string]any{"command": []string{"/usr/sbin/freeze"}}
	for _, c := range change {
		for name, value := range c {
			hook[name] = value
		}
	}
	return map[string]any{"preBackup": []any{hook}}
}

func identity(key string) fields {
	return fields{"spec.identity": map[string]any{"signingKey": key, "sealingKey": key}}
}
