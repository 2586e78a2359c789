package agent

import (
	"syscall"

	"github.com/restic-manager/restic-manager/api/wire"
)

// disks are the file systems of the folders, each once. A folder that is not there has none.
func disks(folders []string) []wire.DiskRecord {
	var out []wire.DiskRecord
	seen := map[uint64]bool{}
	for _, folder := range folders {
		var info syscall.Stat_t
		var fs syscall.Statfs_t
		if syscall.Stat(folder, &info) != nil || seen[uint64(info.Dev)] || syscall.Statfs(folder, &fs) != nil {
			continue
		}
		seen[uint64(info.Dev)] = true
		// What a user without privileges may fill: the rest is the system's reserve.
		out = append(out, wire.DiskRecord{Path: folder, BytesFree: int64(fs.Bavail) * int64(fs.Bsize),
			BytesTotal: int64(fs.Blocks) * int64(fs.Bsize), InodesFree: int64(fs.Ffree)})
	}
	return out
}
