// Package manifests holds the tests of what lies in config/ and docs/: that the CRDs are valid, complete and alike, that every
// sample, every example in the documentation and the default installation apply to a real API server, that links in the documentation lead
// somewhere, and that the gateway's role stays as narrow as it must be.
package manifests
