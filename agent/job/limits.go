package job

import (
	"time"

	"github.com/restic-manager/restic-manager/agent/restic"
	"github.com/restic-manager/restic-manager/api/wire"
)

// limitsAt are the caps for a restic that starts now. A group's own replace the host's: each direction that it names, or both when it has windows of
// its own, where no cap means none.
func limitsAt(now time.Time, group, host wire.Bandwidth) restic.Limits {
	upload, download := group.At(now)
	if len(group.Windows) == 0 {
		hostUpload, hostDownload := host.At(now)
		if upload == 0 {
			upload = hostUpload
		}
		if download == 0 {
			download = hostDownload
		}
	}
	return restic.Limits{UploadKBps: upload, DownloadKBps: download}
}

// limits are those of a job now.
func (m *Manager) limits(j *Job) restic.Limits {
	group := wire.Bandwidth{}
	if j.Backup != nil {
		group = j.Backup.Bandwidth
	}
	return limitsAt(m.now(), group, j.Bandwidth)
}
