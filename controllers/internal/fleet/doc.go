// Package fleet sums up over the Hosts of a SourceGroup or a Schedule what became of their backups, from the status of each Host. It is pure.
//
// # Use
//
//	f := fleet.OfGroup(group.Name, matched)
//	group.Status.FleetSummary = f.Summary(applied)
//	f.SetCurrent(status.For(&group.Status.Conditions, …))
//
// ChangedGroups and ChangedSchedules tell which summaries a change of a Host's status concerns.
//
// # What counts as what
//
// A Host failed when its last backup failed or completed with errors; a backup that was cancelled says nothing, then the one before counts. Of a
// Schedule the worst of its groups on that Host counts: failing, then never ran, then succeeded. Overdue is what the Host's own status says,
// whatever became of the last backup.
package fleet
