// Package fleet says at a glance how the backups of many machines are.
//
// # Use
//
//	report := fleet.Judge(hosts)
//	fleet.Print(t, report, options)
//	os.Exit(report.Code())
//
// # Internals
//
// Judge is pure. It reads what the controllers decided (conditions, overdue backups, last results) and decides nothing anew, so that it says what kubectl, Events and
// alerts say. A host is as bad as the worst of its groups and of itself; the worst come first.
package fleet
