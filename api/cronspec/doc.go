// Package cronspec says when a cron expression in a time zone fires. The controllers use it to judge a Schedule and to show its next
// fire, the agent to fire: both must mean the same.
//
// # Use
//
//	spec, err := cronspec.Parse("30 2 * * *", "Europe/Zurich")
//	fire, ok := spec.Next(time.Now())   // fire.Nominal "2026-03-29T02:30", fire.At the instant
//
// Errors of Parse are sentences for the status of a Schedule.
//
// # What an expression means
//
// An expression names local wall times: the nominal times. Each nominal time happens once, whatever the zone does with its clocks:
//
//   - In the hour that is repeated in autumn only the first occurrence counts. An hourly schedule therefore has a pause of two
//     hours there: the second 02:00 has the same name as the first.
//   - A time that is skipped in spring happens at the end of the gap, under its own name: 02:30 runs at 03:00.
//   - Times that fall on the same instant that way (02:00, 02:15, … and 03:00 itself under "*/15 * * * *") are one fire, named by the
//     last of them. To run the same backup five times at 03:00 helps nobody.
//
// So a nominal time is fit to be the identity of a job, and fires are strictly ordered by both nominal time and instant.
//
// # Internals
//
// github.com/robfig/cron/v3 parses the expression and enumerates wall times; it is asked in UTC, where it has no DST to get wrong (by itself it drops
// a skipped 02:30 and repeats it in autumn; it gives up after five years, which 29 February outlasts around 2100; "TZ=UTC" makes it
// panic). The mapping between wall times and instants is in wall.go and uses the zone's own transitions.
//
// Zones come from Go's time package. Programs that use this package import time/tzdata for their effect, so that a machine without a zone
// database knows the same zones.
//
// A Spec is immutable and safe for concurrent use.
package cronspec
