// Package admit decides whether a scheduled backup may run.
//
// Decide is pure: the caller gathers what the published set says and what the machine has run before, and Decide answers. It knows
// neither Kubernetes nor the connection, so every rule is a row in a table test.
//
// The agent obeys a refusal; it never needs an admission to be safe, since it decides by itself from the verified set when no verdict
// comes. So the verdict is about freshness (suspended a moment ago, removed from the set) and about running once, not about security.
package admit
