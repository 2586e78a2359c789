// Record writes down what an agent and a gateway of today say to each other, for the tests of later versions: go run ./test/compat/record v0.1.0
//
// It starts a whole installation and one machine, with a relay between agent and gateway that ends the TLS of both. The machine is enrolled, applies a set,
// fires a scheduled backup, runs one by a command, and answers a query. What passed goes to test/compat/wire/VERSION: transcript.jsonl, one message a line, and
// keys.json, the keys of a machine and of controllers that exist for this alone.
package main
