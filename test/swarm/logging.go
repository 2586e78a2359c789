package swarm

import (
	"context"
	"log/slog"
	"strings"
	"sync"
)

// logging is an agent's logger: it names the host, and remembers why there is no session.
type logging struct {
	agent *Agent
	next  slog.Handler
}

// Enabled implements slog.Handler. The reason for a failed attempt is logged at debug level when it comes again.
func (l *logging) Enabled(context.Context, slog.Level) bool { return true }

// Handle implements slog.Handler.
func (l *logging) Handle(ctx context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if a.Key != "retryIn" {
			return true
		}
		l.agent.setTrouble(r.Message)
		l.agent.fleet.endings.add(strings.ReplaceAll(r.Message, l.agent.Ref().String(), "<host>"))
		return false
	})
	if !l.next.Enabled(ctx, r.Level) {
		return nil
	}
	r = r.Clone()
	r.AddAttrs(slog.String("host", l.agent.name))
	return l.next.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (l *logging) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &logging{agent: l.agent, next: l.next.WithAttrs(attrs)}
}

// WithGroup implements slog.Handler.
func (l *logging) WithGroup(name string) slog.Handler {
	return &logging{agent: l.agent, next: l.next.WithGroup(name)}
}

// maxEndings bounds the sentences that are told apart.
const maxEndings = 100

// endings counts why there was no session, by the sentence in the log.
type endings struct {
	mu     sync.Mutex
	counts map[string]int
}

func (e *endings) add(sentence string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.counts == nil {
		e.counts = map[string]int{}
	}
	if _, known := e.counts[sentence]; !known && len(e.counts) >= maxEndings {
		sentence = "others"
	}
	e.counts[sentence]++
}
