package drill

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/restic-manager/restic-manager/api/wire"
)

// Verdict judges the summary of a drill that was carried through. The message is empty for a success.
//
// A group without a snapshot, or with one that holds no files, is in the summary, and fails the drill only when no group had anything to
// drill: a group that was added this morning is no fault of the backups.
func Verdict(s wire.VerifySummary) (wire.Outcome, wire.Reason, string) {
	withSnapshot := 0
	for _, g := range s.Groups {
		if g.SnapshotID != "" {
			withSnapshot++
		}
	}
	switch {
	case s.FilesFailed > 0:
		return wire.OutcomeFailed, wire.ReasonVerificationFailed, clip(fmt.Sprintf(
			"%d of %d files could not be restored, or differ: %s. Read the log; run a check that reads all data (readDataSubset: 100%%), and a backup.",
			s.FilesFailed, s.FilesFailed+s.FilesVerified, named(s.FailedPaths, s.FilesFailed)))
	case s.FilesVerified > 0:
		return wire.OutcomeSucceeded, "", ""
	case withSnapshot == 0:
		return wire.OutcomeFailed, wire.ReasonNoSnapshot, "No group has a snapshot that could be drilled: " + why(s) + ". Was there a backup yet?"
	}
	return wire.OutcomeFailed, wire.ReasonNothingRestored, "The snapshots hold nothing that could be restored: " + why(s) + ". See whether the groups' paths are the right ones."
}

func why(s wire.VerifySummary) string {
	var parts []string
	for i, g := range s.Groups {
		if i == 3 {
			parts = append(parts, fmt.Sprintf("and %d more groups", len(s.Groups)-i))
			break
		}
		parts = append(parts, fmt.Sprintf("%s (%s)", g.Name, g.Error))
	}
	return strings.Join(parts, ", ")
}

func named(paths []string, total int64) string {
	first := paths[:min(3, len(paths))]
	text := strings.Join(first, ", ")
	if more := total - int64(len(first)); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// clip keeps a text within what a message may hold.
func clip(text string) string {
	text = strings.ToValidUTF8(text, string(utf8.RuneError))
	if len(text) <= wire.MaxString {
		return text
	}
	end := wire.MaxString - len("…")
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "…"
}

// size writes a number of bytes for people.
func size(n int64) string {
	units := []string{"bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}
	value, unit := float64(n), 0
	for value >= 1024 && unit < len(units)-1 {
		value /= 1024
		unit++
	}
	if unit == 0 {
		return fmt.Sprintf("%d bytes", n)
	}
	return fmt.Sprintf("%.1f %s", value, units[unit])
}
