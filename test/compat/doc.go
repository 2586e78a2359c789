// Package compat holds what earlier versions were, and tests that today's programs get along with it.
//
// # Objects
//
// crds/VERSION are the CRDs of a release, written by hack/freeze.sh when it is made. Those of the newest one are compared with config/crd/bases by
// sigs.k8s.io/crdify: a field or a version that is removed, another type, narrower bounds, a new required field, a changed default, and what crdify does
// not know (patterns, CEL rules) are refused, unless accepted.yaml says why it is right. That runs in make verify.
//
// # The wire
//
// wire/VERSION is the protocol of a release: each message as its programs wrote it, in transcript.jsonl, and what they signed, in the text of client_test.go, which knows JSON,
// Ed25519 and WebSockets and nothing of api/wire. The frozen client speaks to today's gateway; the recorded messages of the gateway's side go to today's agent,
// with fields and types added that no version has.
package compat
