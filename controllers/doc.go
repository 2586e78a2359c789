// Package controllers composes the reconcilers into one manager.
//
// # Use
//
//	err := controllers.Setup(mgr, controllers.Options{Namespace: …, GatewayURL: …, Keys: keys})
//
// Use CacheOptions for the manager's cache: it holds only what the reconcilers may look at.
//
// # Parts
//
// Each kind has a reconciler of its own below this folder. What they decide, compile and report with is in compile, credentials and
// status; the reconcilers never import each other, and speak through the objects. They write ScheduleSets and the commands in HostJobs and HostQueries, which the gateway
// delivers; the gateway writes what agents report, which they judge into conditions.
package controllers
