package restic

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// errEnough ends a run whose output is not wanted any further.
var errEnough = errors.New("the output is not wanted any further")

// stream runs a command whose output read takes piece by piece, and slows it down as read does. An error of read ends the run and is returned, unless restic
// failed by itself.
func (r *Runner) stream(ctx context.Context, inv invocation, read func(io.Reader) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var failed error
	inv.stdout = func(out io.Reader) error {
		if failed = read(out); failed != nil {
			cancel(errEnough)
		}
		return nil
	}
	o, err := r.run(ctx, inv)
	switch {
	case err != nil:
		return err
	case failed != nil && (errors.Is(o.cause, errEnough) || o.exitCode == 0 && o.stopped == notStopped):
		return failed
	case o.exitCode != 0 || o.stopped != notStopped:
		return o.failure(inv.command, inv.repository.URL)
	}
	return nil
}

// eachElement reads one long JSON array, element by element. No output at all is no element: the exit code tells why.
func eachElement(r io.Reader, command string, read func(*json.Decoder) error) error {
	decoder := json.NewDecoder(r)
	if err := expect(decoder, json.Delim('[')); errors.Is(err, io.EOF) {
		return nil
	} else if err != nil {
		return unreadable(command, err)
	}
	for decoder.More() {
		if err := read(decoder); err != nil {
			return err
		}
	}
	if err := expect(decoder, json.Delim(']')); err != nil {
		return unreadable(command, err)
	}
	return nil
}

func expect(decoder *json.Decoder, want json.Delim) error {
	token, err := decoder.Token()
	if err == nil && token != want {
		return fmt.Errorf("%v stands where %v belongs", token, want)
	}
	return err
}

// unreadable is the error for output that is not what this package knows.
func unreadable(command string, err error) error {
	return &Error{Kind: KindFailed, Command: command, Message: fmt.Sprintf("cannot read restic's output: %v", err), cause: err}
}

func checkSnapshotID(id string) error {
	if !snapshotPattern.MatchString(id) {
		return invalid("the snapshot %q is not an id (8 to 64 of 0-9 and a-f)", id)
	}
	return nil
}
