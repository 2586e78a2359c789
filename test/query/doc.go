// Package query tests kubectl restic as a person uses it: against a real API server, two gateway replicas with a recorder before them, real agents and restic.
package query
