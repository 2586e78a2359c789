package cron

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/restic-manager/restic-manager/agent/atomicfile"
)

// maxHandedOut bounds the names that a cursor keeps.
const maxHandedOut = 32

// key names what a cursor belongs to.
type key struct{ schedule, group string }

// cursor is the durable part of one schedule and group.
type cursor struct {
	Schedule string `json:"schedule"`
	Group    string `json:"group"`
	// Cron and TimeZone tell a changed expression.
	Cron     string `json:"cron"`
	TimeZone string `json:"timeZone"`
	// At is the instant of the last nominal time that is settled, or from which on fires count.
	At time.Time `json:"at"`
	// HandedOut are the last nominal times that were settled, oldest first.
	HandedOut []string `json:"handedOut,omitempty"`
	Suspended bool     `json:"suspended,omitempty"`
}

func (c *cursor) key() key { return key{c.Schedule, c.Group} }

func (c *cursor) handedOut(nominal string) bool { return slices.Contains(c.HandedOut, nominal) }

func (c *cursor) handOut(nominal string) {
	if c.handedOut(nominal) {
		return
	}
	c.HandedOut = append(c.HandedOut, nominal)
	if n := len(c.HandedOut) - maxHandedOut; n > 0 {
		c.HandedOut = slices.Delete(c.HandedOut, 0, n)
	}
}

type state struct {
	Version int       `json:"version"`
	Cursors []*cursor `json:"cursors"`
}

const stateVersion = 1

// maxState bounds what is read at start: far more than the cursors of the greatest set.
const maxState = 64 << 20

// load reads the state file. One that cannot be understood is set aside: schedules then start from now, which loses what was missed
// before, but not what comes.
func load(file atomicfile.File) (map[key]*cursor, error) {
	raw, err := file.Read(maxState)
	if errors.Is(err, fs.ErrNotExist) {
		return make(map[key]*cursor), nil
	}
	if err != nil {
		return nil, err
	}
	cursors, err := decode(raw)
	if err != nil {
		aside, asideErr := file.SetAside()
		if asideErr != nil {
			return nil, asideErr
		}
		return make(map[key]*cursor), fmt.Errorf("%w: %s was set aside as %s: %w", errCorrupt, file, aside, err)
	}
	return cursors, nil
}

func decode(raw []byte) (map[key]*cursor, error) {
	var s state
	if err := json.Unmarshal(raw, &s); err != nil {
		return nil, err
	}
	if s.Version != stateVersion {
		return nil, fmt.Errorf("version is %d, want %d", s.Version, stateVersion)
	}
	cursors := make(map[key]*cursor, len(s.Cursors))
	for _, c := range s.Cursors {
		if c != nil {
			cursors[c.key()] = c
		}
	}
	return cursors, nil
}

var errCorrupt = errors.New("the state of the schedules is lost")

func encode(cursors map[key]*cursor) ([]byte, error) {
	s := state{Version: stateVersion, Cursors: make([]*cursor, 0, len(cursors))}
	for _, c := range cursors {
		s.Cursors = append(s.Cursors, c)
	}
	slices.SortFunc(s.Cursors, func(a, b *cursor) int { return compareKeys(a.key(), b.key()) })
	raw, err := json.MarshalIndent(s, "", " ")
	return append(raw, '\n'), err
}
