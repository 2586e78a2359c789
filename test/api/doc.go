// Package api holds the tests of what the API server alone enforces: schemas, CEL rules, defaults, merging, the roles of people and of the
// operator's own ServiceAccounts, and the admission policies. They run on a real API server, with config/default applied as
// a person would, and no controller: what is refused here is refused in every cluster.
package api
