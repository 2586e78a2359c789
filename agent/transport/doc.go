// Package transport is how the agent reaches its gateway over HTTPS: the proxy of the environment, and what went
// wrong in words. Sessions and enrolment share it; like agent/clock it is a leaf, and knows
// nothing of what is said over it but the form of a refusal. Whom it trusts is decided in api/tlspin.
//
// Everything here is safe for concurrent use.
package transport
