package swarm

import (
	"github.com/restic-manager/restic-manager/agent/cron"
	"github.com/restic-manager/restic-manager/api/wire"
)

// due is the Agent as the handler of its cron.
type due Agent

// Fire implements cron.Handler.
func (d *due) Fire(f cron.Fire) {
	d.mu.Lock()
	d.asking++
	d.mu.Unlock()
	d.fires.Fire(f)
}

// settler hears of fires that are done with.
type settler Agent

// Settle implements fires.Settler.
func (s *settler) Settle(f cron.Fire) error {
	s.mu.Lock()
	s.asking--
	s.mu.Unlock()
	s.fleet.news.tell()
	if s.cron == nil {
		return nil
	}
	return s.cron.Settle(f)
}

// starter is the Agent as it begins the jobs of fires.
type starter Agent

// Known implements fires.Starter.
func (s *starter) Known(jobID string) bool { return s.jobs.known(jobID) }

func fireRef(f cron.Fire) wire.JobRef {
	return wire.JobRef{JobID: f.JobID, Kind: wire.JobBackup, Schedule: f.Schedule, Nominal: f.Nominal, SourceGroup: f.SourceGroup}
}

// StartFire implements fires.Starter. The group is that of the set in force now; a fire whose group is gone is dropped.
func (s *starter) StartFire(f cron.Fire, offline bool) error {
	a := (*Agent)(s)
	set := a.Set()
	if set == nil || set.Tombstone {
		return nil
	}
	for i := range set.Groups {
		if set.Groups[i].Name == f.SourceGroup {
			if offline {
				a.fleet.counts.offlineStarts.Add(1)
			}
			a.jobs.submit(Job{Agent: a, Ref: fireRef(f), Group: &set.Groups[i], Offline: offline})
			return nil
		}
	}
	return nil
}

// ReportMissed implements fires.Starter.
func (s *starter) ReportMissed(f cron.Fire, message string) {
	a := (*Agent)(s)
	a.fleet.counts.missed.Add(1)
	a.Report(&wire.JobFinished{Job: fireRef(f), Outcome: wire.OutcomeFailed, Reason: wire.ReasonMissed, Message: wire.Cut(message, wire.MaxString), ExitCode: -1,
		FinishedAt: a.fleet.o.Clock.Now().UTC()})
}
