// Package imports holds the tests that guard who may import whom, and what the agent's program may become.
//
// The rules are in rules_test.go, one per line that a person would say; a violation names the whole chain of imports from
// the package that the rule is about to the one it must not reach. Only what is built into programs counts: test files may
// import what they like.
package imports
