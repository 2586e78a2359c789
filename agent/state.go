package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/restic-manager/restic-manager/agent/atomicfile"
)

// hostFile names the Host object that the state folder belongs to.
const hostFile = "host"

// statsFile is where job keeps the last statistics.
const statsFile = "stats.json"

// hostState is what belongs to one Host object and must not be told of another: when the machine is enrolled as another Host, it is set
// aside. Logs, caches and restored files stay.
var hostState = []string{"outbox", "ledger", "cron.json", "schedule-set.json", "secrets.enc", "session.json", statsFile, statusFile}

// damagedUID tells whether what stands in the file was never a uid of a Host, or is the beginning of this one's.
func damagedUID(found, uid string) bool {
	notOfUID := func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && r != '-'
	}
	return strings.HasPrefix(uid, found) || strings.ContainsFunc(found, notOfUID)
}

// claimState makes the folder that of the Host with this uid.
func claimState(dir, uid string, now time.Time, logger *slog.Logger) error {
	path := filepath.Join(dir, hostFile)
	raw, err := os.ReadFile(path)
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("state folder: %w", err)
	case err == nil && strings.TrimSpace(string(raw)) == uid:
		return nil
	case err == nil && damagedUID(strings.TrimSpace(string(raw)), uid):
		// It says nothing of another Host, and what is set aside needlessly is lost to this one: results, and which jobs ran.
		logger.Error("the file that says whose state folder this is, is damaged; it is written anew", "file", path, "host", uid)
	case err == nil:
		former := filepath.Join(dir, "former-"+now.UTC().Format("20060102T150405Z"))
		if err := os.MkdirAll(former, 0o700); err != nil {
			return fmt.Errorf("state folder: %w", err)
		}
		for _, name := range hostState {
			if err := os.Rename(filepath.Join(dir, name), filepath.Join(former, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("state folder: %w", err)
			}
		}
		logger.Warn("this machine was enrolled as another Host before; what it knew then was set aside, remove it when nobody needs it", "movedTo", former)
	}
	if err := atomicfile.Write(path, []byte(uid+"\n")); err != nil {
		return fmt.Errorf("state folder: %w", err)
	}
	return nil
}
