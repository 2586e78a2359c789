// Package scenario is the main job of restic-manager from end to end, on real parts: apply the samples, enrol a machine, back it up by
// schedule and on demand, change files, restore, compare; then forget, prune, check, locks, hooks, dumps and a restore drill; then a fleet under one
// SourceGroup and one Schedule, with a machine that falls overdue and recovers. The demo prints it; the end-to-end tests run it and look closer.
package scenario
