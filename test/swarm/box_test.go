package swarm

import (
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/restic-manager/restic-manager/agent/delivery"
	"github.com/restic-manager/restic-manager/agent/outbox"
	"github.com/restic-manager/restic-manager/api/wire"
)

func report(n int) *wire.JobFinished {
	return &wire.JobFinished{Job: wire.JobRef{JobID: fmt.Sprintf("fire-%d", n), Kind: wire.JobBackup}, Outcome: wire.OutcomeSucceeded,
		FinishedAt: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
}

// The same is done to an outbox on disk and to the one in memory, and looked at from outside. Epochs are random, so they are counted.
func TestTheBoxInMemoryDoesWhatTheOutboxDoes(t *testing.T) {
	type whole interface {
		delivery.Box
		NewEpoch() error
	}
	disk, err := outbox.Open(t.TempDir(), outbox.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	told := map[string][]string{}
	for name, box := range map[string]whole{"disk": disk, "memory": newBox()} {
		epochs := map[string]int{}
		seen := func(what string) {
			line := fmt.Sprintf("%s: %d wait", what, box.Len())
			for after := int64(0); ; {
				r, ok := box.Next(after)
				if !ok {
					break
				}
				id := r.ID()
				if _, known := epochs[id.Epoch]; !known {
					epochs[id.Epoch] = len(epochs)
				}
				if id.Epoch != box.Epoch() {
					t.Errorf("%s, %s: report %d is of epoch %s, the box of %s", name, what, id.Seq, id.Epoch, box.Epoch())
				}
				line += fmt.Sprintf(", %s as %d/%d", r.(*wire.JobFinished).Job.JobID, epochs[id.Epoch], id.Seq)
				after = id.Seq
			}
			woken := false
			select {
			case <-box.Changed():
				woken = true
			default:
			}
			told[name] = append(told[name], fmt.Sprintf("%s, woken %t", line, woken))
		}
		add := func(n int) {
			if err := box.Add(report(n)); err != nil {
				t.Fatal(err)
			}
		}
		ack := func(epoch string, seq int64) {
			if err := box.Ack(wire.ReportID{Epoch: epoch, Seq: seq}); err != nil {
				t.Fatal(err)
			}
		}
		seen("empty")
		add(1)
		add(2)
		add(3)
		seen("three")
		ack("another", 3)
		seen("an ack of another epoch")
		ack(box.Epoch(), 2)
		seen("two acked")
		add(4)
		if err := box.NewEpoch(); err != nil {
			t.Fatal(err)
		}
		seen("a new epoch")
		ack(box.Epoch(), 1<<40)
		seen("an ack beyond the end")
		add(5)
		seen("the first report of an empty box")
		if err := box.Add(&wire.JobFinished{}); !errors.Is(err, outbox.ErrInvalid) {
			t.Errorf("%s: an invalid report is taken: %v", name, err)
		}
		seen("an invalid report")
	}
	if diff := cmp.Diff(told["disk"], told["memory"]); diff != "" {
		t.Errorf("what is seen of the box (-disk +memory):\n%s", diff)
	}
}
