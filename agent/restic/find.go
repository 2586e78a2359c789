package restic

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// maxMatches bounds what one snapshot may hold of what is looked for: restic names the snapshot after its matches, so they wait in memory.
const maxMatches = 50_000

// FindOptions say what to look for, and where.
type FindOptions struct {
	// Pattern is a name, or a path from the root, with restic's wildcards. Required.
	Pattern    string
	IgnoreCase bool
	// Snapshot is an id; empty: all that match the filter.
	Snapshot string
	Filter   SnapshotFilter
}

func (o FindOptions) check() error {
	if err := checkText("the pattern", o.Pattern); err != nil {
		return err
	}
	if o.Snapshot != "" {
		return checkSnapshotID(o.Snapshot)
	}
	return o.Filter.check()
}

func (o FindOptions) args() []string {
	args := []string{"--no-lock", "find"}
	if o.IgnoreCase {
		args = append(args, "--ignore-case")
	}
	if o.Snapshot != "" {
		args = append(args, "--snapshot="+o.Snapshot)
	} else {
		args = append(args, o.Filter.args()...)
	}
	return append(args, "--", o.Pattern)
}

// errTooMany ends a search whose pattern is too wide.
var errTooMany = fmt.Errorf("more than %d files of one snapshot match", maxMatches)

// Find calls each for every match, snapshot by snapshot, the newest first. An error of each ends the search and is returned. It takes no lock, as List. More
// than maxMatches in one snapshot are KindInvalid.
func (r *Runner) Find(ctx context.Context, repository Repository, options FindOptions, each func(snapshotID string, n Node) error, observer Observer) error {
	if err := options.check(); err != nil {
		return err
	}
	unknown := false
	err := r.stream(ctx, invocation{command: "find", args: options.args(), repository: repository, observer: observer,
		plain: func(line string) { unknown = unknown || strings.Contains(line, "no matching ID found") }},
		func(out io.Reader) error { return readMatches(out, each) })
	var failure *Error
	switch {
	case err == nil && unknown:
		return &Error{Kind: KindNoSuchSnapshot, Command: "find", Message: fmt.Sprintf("the repository holds no snapshot %s", options.Snapshot)}
	case errors.Is(err, errTooMany):
		return invalid("%v; use a narrower pattern", err)
	case errors.As(err, &failure) && strings.Contains(failure.Message, "syntax error in pattern"):
		return invalid("the pattern %q is not complete: close its brackets, or put a backslash before each that is meant as such", options.Pattern)
	}
	return err
}

// readMatches reads what was found: an array of objects, one for each snapshot that holds a match.
func readMatches(r io.Reader, each func(string, Node) error) error {
	return eachElement(r, "find", func(decoder *json.Decoder) error {
		snapshot, matches, err := readSnapshotMatches(decoder)
		if errors.Is(err, errTooMany) {
			return err
		} else if err != nil {
			return unreadable("find", err)
		}
		for _, n := range matches {
			if err := each(snapshot, n); err != nil {
				return err
			}
		}
		return nil
	})
}

func readSnapshotMatches(decoder *json.Decoder) (snapshot string, matches []Node, err error) {
	if err := expect(decoder, '{'); err != nil {
		return "", nil, err
	}
	for decoder.More() {
		key, err := decoder.Token()
		if err != nil {
			return "", nil, err
		}
		switch key {
		case "matches":
			matches, err = readNodeArray(decoder)
		case "snapshot":
			err = decoder.Decode(&snapshot)
		default:
			err = decoder.Decode(new(json.RawMessage))
		}
		if err != nil {
			return "", nil, err
		}
	}
	return snapshot, matches, expect(decoder, '}')
}

func readNodeArray(decoder *json.Decoder) ([]Node, error) {
	if err := expect(decoder, '['); err != nil {
		return nil, err
	}
	var nodes []Node
	for decoder.More() {
		var n node
		if err := decoder.Decode(&n); err != nil {
			return nil, err
		}
		if len(nodes) == maxMatches {
			return nil, errTooMany
		}
		nodes = append(nodes, n.node())
	}
	return nodes, expect(decoder, ']')
}
