// Package metrics exports to Prometheus what the status of Hosts, SourceGroups and Schedules says.
//
// # Use
//
//	metrics.Registry.MustRegister(metrics.New(metrics.Options{Reader: mgr.GetClient(), Elected: mgr.Elected(), …}))
//
// # Internals
//
// The Collector keeps no series: each scrape reads the manager's cache, so a Host that is gone has none, and nothing is counted twice or forgotten. Of several replicas only
// the one that leads exports what is about objects, else every series would be there more than once.
//
// Families is the one list of metrics: descriptors, help texts and docs/metrics.md are made of it.
//
// # Cardinality
//
// Labels take names of objects and values of enumerations, never what a machine says freely, but for the versions in restic_manager_host_info, which are cut. Each Host has about thirty
// series and eleven for each of its source groups. Above Options.HostLimit the Hosts that come last by namespace and name are left out, and
// restic_manager_metrics_hosts_omitted says how many.
//
// # Locks
//
// A mutex guards the parsed cron expressions while a scrape looks them up.
package metrics
