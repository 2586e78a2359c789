package terminal

import (
	"context"
	"sync"
)

// Interrupts says what Ctrl-C means: the end of the command, unless somebody has caught it. Safe for concurrent use.
type Interrupts struct {
	mu     sync.Mutex
	cancel context.CancelCauseFunc
	caught []*func()
}

// ErrInterrupted is why a context ended on Ctrl-C.
var ErrInterrupted = interrupted{}

type interrupted struct{}

func (interrupted) Error() string { return "interrupted" }

// NewInterrupts returns interrupts that end the returned context.
func NewInterrupts(ctx context.Context) (context.Context, *Interrupts) {
	ctx, cancel := context.WithCancelCause(ctx)
	return ctx, &Interrupts{cancel: cancel}
}

// Fire is a Ctrl-C.
func (i *Interrupts) Fire() {
	i.mu.Lock()
	var f func()
	if n := len(i.caught); n > 0 {
		f = *i.caught[n-1]
	}
	i.mu.Unlock()
	if f == nil {
		i.cancel(ErrInterrupted)
		return
	}
	f()
}

// Catch has f called in place of the end, until release is. The last who caught it has it.
func (i *Interrupts) Catch(f func()) (release func()) {
	i.mu.Lock()
	defer i.mu.Unlock()
	mine := &f
	i.caught = append(i.caught, mine)
	return func() {
		i.mu.Lock()
		defer i.mu.Unlock()
		for n, c := range i.caught {
			if c == mine {
				i.caught = append(i.caught[:n:n], i.caught[n+1:]...)
				return
			}
		}
	}
}
