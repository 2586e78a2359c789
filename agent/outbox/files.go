package outbox

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/restic-manager/restic-manager/agent/atomicfile"
	"github.com/restic-manager/restic-manager/api/wire"
)

const (
	stateFile     = "outbox.json"
	entrySuffix   = ".json"
	corruptSuffix = ".corrupt"
	seqDigits     = 19
	// maxCorrupt is how many damaged files are kept for a person to look at.
	maxCorrupt = 16
)

// errDamaged marks a file that is not what was written.
var errDamaged = errors.New("damaged")

// stored is the content of a report's file.
type stored struct {
	// SHA256 is over Frame, in hex: a disk that flips a bit must not change a result.
	SHA256 string          `json:"sha256"`
	Frame  json.RawMessage `json:"frame"`
}

// state is the content of outbox.json.
type state struct {
	Epoch string `json:"epoch"`
	// AckedThrough is the number up to which all reports were acknowledged.
	AckedThrough int64 `json:"ackedThrough"`
}

func encodeEntry(report wire.Report) ([]byte, error) {
	frame, err := wire.Encode("", report)
	if err != nil {
		return nil, err
	}
	return json.Marshal(stored{SHA256: sum(frame), Frame: frame})
}

func decodeEntry(data []byte) (wire.Report, error) {
	var s stored
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, fmt.Errorf("%w: %w", errDamaged, err)
	}
	if s.SHA256 != sum(s.Frame) {
		return nil, fmt.Errorf("%w: the checksum does not match", errDamaged)
	}
	envelope, err := wire.Decode(s.Frame)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errDamaged, err)
	}
	message, err := envelope.Open()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errDamaged, err)
	}
	report, ok := message.(wire.Report)
	if !ok {
		return nil, fmt.Errorf("%w: %s is no report", errDamaged, envelope.Type)
	}
	return report, nil
}

func sum(data []byte) string {
	s := sha256.Sum256(data)
	return hex.EncodeToString(s[:])
}

func (o *Outbox) path(seq int64) string {
	return filepath.Join(o.dir, fmt.Sprintf("%0*d%s", seqDigits, seq, entrySuffix))
}

// seqOf tells the number in a file name, and whether the file was set aside.
func seqOf(name string) (seq int64, corrupt, ok bool) {
	base, corrupt := strings.CutSuffix(name, corruptSuffix)
	digits, ok := strings.CutSuffix(base, entrySuffix)
	if !ok || len(digits) != seqDigits {
		return 0, false, false
	}
	seq, err := strconv.ParseInt(digits, 10, 64)
	return seq, corrupt, err == nil && seq > 0
}

// read returns a stored report of this outbox, under the epoch that is in force now: that in the file is the one in which it was stored.
func (o *Outbox) read(seq int64) (wire.Report, error) {
	data, err := os.ReadFile(o.path(seq))
	if err != nil {
		return nil, err
	}
	report, err := decodeEntry(data)
	if err != nil {
		return nil, err
	}
	if report.ID().Seq != seq {
		return nil, fmt.Errorf("%w: the file of report %d holds report %s", errDamaged, seq, report.ID())
	}
	report.SetID(wire.ReportID{Epoch: o.epoch, Seq: seq})
	return report, nil
}

// load builds the index from the folder.
func (o *Outbox) load() error {
	names, err := os.ReadDir(o.dir)
	if err != nil {
		return err
	}
	var pending, corrupt []int64
	for _, n := range names {
		seq, isCorrupt, ok := seqOf(n.Name())
		if !ok {
			continue
		}
		if isCorrupt {
			corrupt = append(corrupt, seq)
		} else {
			pending = append(pending, seq)
		}
		o.last = max(o.last, seq)
	}
	slices.Sort(pending)
	slices.Sort(corrupt)
	if err := o.loadState(pending); err != nil {
		return err
	}
	o.last = max(o.last, o.acked)
	for _, seq := range pending {
		if seq <= o.acked {
			// A crash came between outbox.json and the removal.
			if err := os.Remove(o.path(seq)); err != nil {
				o.log.Warn("cannot remove an acknowledged report; it is not sent again", "seq", seq, "error", err)
			}
			continue
		}
		report, err := o.read(seq)
		if err != nil {
			o.putAside(seq, err)
			corrupt = append(corrupt, seq)
			continue
		}
		info, err := os.Stat(o.path(seq))
		if err != nil {
			return err
		}
		o.entries = append(o.entries, entry{seq: seq, size: info.Size(), kind: report.MessageType()})
		o.bytes += info.Size()
	}
	// The newest are kept; the greatest number is among them, so it stays witnessed.
	slices.Sort(corrupt)
	for len(corrupt) > maxCorrupt {
		if err := os.Remove(o.path(corrupt[0]) + corruptSuffix); err != nil && !errors.Is(err, os.ErrNotExist) {
			o.log.Warn("cannot remove an old damaged report", "seq", corrupt[0], "error", err)
		}
		corrupt = corrupt[1:]
	}
	return nil
}

// loadState reads outbox.json. Where it is missing or damaged, the epoch of the newest readable report goes on, so that reports that
// were sent before are known again; without one a new epoch begins.
func (o *Outbox) loadState(pending []int64) error {
	path := filepath.Join(o.dir, stateFile)
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err == nil {
		var s state
		if e := json.Unmarshal(data, &s); e == nil && s.Epoch != "" && len(s.Epoch) <= wire.MaxName && s.AckedThrough >= 0 {
			o.epoch, o.acked = s.Epoch, s.AckedThrough
			return nil
		}
		o.log.Error("the outbox's own state is damaged; its epoch is taken from the waiting reports, or a new one begins", "file", path)
		if e := atomicfile.Rename(path, path+corruptSuffix); e != nil {
			return e
		}
		o.setAside = append(o.setAside, stateFile+corruptSuffix)
	}
	o.epoch = newEpoch()
	for _, seq := range slices.Backward(pending) {
		data, err := os.ReadFile(o.path(seq))
		if err != nil {
			continue
		}
		if report, err := decodeEntry(data); err == nil && report.ID().Seq == seq {
			o.epoch = report.ID().Epoch
			break
		}
	}
	return o.saveState(o.epoch, 0)
}

// saveState writes outbox.json and takes over its content.
func (o *Outbox) saveState(epoch string, acked int64) error {
	data, err := json.Marshal(state{Epoch: epoch, AckedThrough: acked})
	if err != nil {
		return err
	}
	if err := o.write(filepath.Join(o.dir, stateFile), data); err != nil {
		return err
	}
	o.epoch, o.acked = epoch, acked
	return nil
}

// putAside renames a damaged report, so that a person can look at it and nothing else is blocked by it.
func (o *Outbox) putAside(seq int64, cause error) {
	path := o.path(seq)
	o.log.Error("a report is damaged and will not be sent; it is set aside", "file", path+corruptSuffix, "error", cause)
	if err := atomicfile.Rename(path, path+corruptSuffix); err != nil && !errors.Is(err, os.ErrNotExist) {
		o.log.Error("cannot rename a damaged report", "file", path, "error", err)
	}
	o.setAside = append(o.setAside, filepath.Base(path)+corruptSuffix)
}
