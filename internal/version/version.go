// Package version tells which build this is. It imports nothing, since the agent does too.
package version

// Version is set at link time by make build: a tag, or a tag with the number of commits since and the commit.
var Version = "dev"
