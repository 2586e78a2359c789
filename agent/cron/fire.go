package cron

import (
	"log/slog"
	"time"

	"github.com/restic-manager/restic-manager/agent/atomicfile"
	"github.com/restic-manager/restic-manager/agent/clock"
	"github.com/restic-manager/restic-manager/api/wire"
)

// Fire is a backup that is due.
type Fire struct {
	wire.Fire
	// At is the instant of the nominal time; Due is later by the jitter.
	At time.Time
	// Missed is true when the fire comes later than its starting deadline: it is to be reported, not run. Message says so in a sentence.
	Missed  bool
	Message string
	// Skipped counts earlier fires of the same schedule and group that this one stands for.
	Skipped int
	// WhenDisconnected and StartingDeadline are the schedule's; StartingDeadline 0 means none.
	WhenDisconnected string
	StartingDeadline time.Duration
}

// Handler takes fires. It returns quickly and calls Settle later (or at once).
type Handler interface {
	Fire(Fire)
}

// Options of a Cron.
type Options struct {
	// Host is part of every job id, and of the key of the jitter.
	Host wire.HostRef
	// Path of the state file. File is that file where it is set, and Path is not used.
	Path    string
	File    atomicfile.File
	Handler Handler
	// Clock defaults to the machine's, Logger to slog.Default().
	Clock  clock.Clock
	Logger *slog.Logger
}
