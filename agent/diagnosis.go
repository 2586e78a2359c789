package agent

import (
	"context"
	"path/filepath"
	"time"

	"github.com/restic-manager/restic-manager/api/wire"
)

// lookForRestic is how long `restic version` may take for a diagnosis.
const lookForRestic = 10 * time.Second

// diagnosis is what the agent knows of itself and its machine; the repository is not asked.
func (a *Agent) diagnosis() wire.DiagnosisRecord {
	system := thisSystem()
	d := wire.DiagnosisRecord{
		Time: a.o.Clock.Now().UTC(), Agent: a.o.Version, OS: system.OS, Arch: system.Arch, Hostname: system.Hostname, StartTime: a.startedAt,
		Revision: a.desired.AppliedRevision(), Serial: a.desired.AppliedSerial(),
		Running: a.jobs.Running(), Queued: a.jobs.Queued(), Unacked: int64(a.reports.Waiting()),
		Consent: a.config.Allow.Texts(),
	}
	ctx, cancel := context.WithTimeout(context.Background(), lookForRestic)
	defer cancel()
	binary, err := a.restic.FindAnew(ctx)
	d.Restic, d.ResticPath = binary.Version, binary.Path
	if err != nil {
		d.ResticError = wire.Cut(err.Error(), wire.MaxString)
	}
	if next, planned := a.cron.Next(); planned {
		d.NextFire = &next
	}
	folders := []string{a.config.StateDir, filepath.Join(a.config.StateDir, cacheDir), filepath.Join(a.config.StateDir, tempDir)}
	d.Disks = disks(append(folders, a.config.Allow.Restore...))
	return d
}
