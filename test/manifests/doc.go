// Package manifests holds the tests of what lies in config/: that the CRDs are valid, complete and alike, that every
// sample and the default installation apply to a real API server, and that the gateway's role stays as narrow as it must be.
package manifests
