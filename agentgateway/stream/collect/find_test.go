package collect

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/restic-manager/restic-manager/api/wire"
)

func TestWithoutTheSecretEveryQueryIsUnknown(t *testing.T) {
	other := encoded(append(make([]byte, wire.StreamSecretSize-1), 1))
	var first *answer
	for _, test := range []struct {
		name          string
		query, secret string
		change        func(*fixture)
	}{
		{name: "there is none", query: "shop/none", secret: other},
		{name: "another secret", query: "shop/q", secret: other},
		{name: "no secret", query: "shop/q"},
		{name: "a secret that is too short", query: "shop/q", secret: encoded(make([]byte, 31))},
		{name: "a secret that is no base64", query: "shop/q", secret: "?"},
		{name: "the hash in place of the secret", query: "shop/q", secret: wire.StreamSecretHash(make([]byte, wire.StreamSecretSize))},
		{name: "a query that is not signed, and another secret", query: "shop/q", secret: other, change: func(f *fixture) {
			f.book.change(func(q *Query) { q.Document = "" })
		}},
		{name: "a query whose time is over", query: "shop/q", secret: encoded(make([]byte, wire.StreamSecretSize)), change: func(f *fixture) {
			f.book.change(func(q *Query) { q.Expires = start })
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFixture(t)
			if test.change != nil {
				test.change(f)
			}
			answers := make(chan answer, 1)
			go func() { answers <- f.refused(test.query, test.secret) }()
			// As long as for one that may still come: the time tells nothing either.
			f.waiters(1)
			f.clock.Step(defaultWait)
			got := next(t, answers, "answer")
			if got.Status != http.StatusNotFound || got.Error.Code != wire.CodeUnknownQuery {
				t.Errorf("got %+v", got)
			}
			if first == nil {
				first = &got
			}
			if diff := cmp.Diff(*first, got); diff != "" {
				t.Errorf("told apart from a query that is not there (-that +this):\n%s", diff)
			}
			if len(f.agent.asked) != 0 {
				t.Error("the agent was looked for")
			}
		})
	}
}

func TestAQueryThatCameFirstIsWaitedFor(t *testing.T) {
	f := newFixture(t)
	signed, _ := f.book.Query("shop", "q")
	f.book.remove()
	collected := make(chan error, 1)
	go func() {
		_, _, err := f.dial("shop/q", encoded(f.secret))
		collected <- err
	}()
	f.waiters(1)
	f.book.change(func(q *Query) { *q = signed; q.Document, q.Expires = "", time.Time{} })
	f.book.change(func(q *Query) { *q = signed })
	if err := next(t, collected, "answer"); err != nil {
		t.Fatal(err)
	}
	f.agent.opened(t)
}

func TestAQueryThatIsNotSignedInTime(t *testing.T) {
	f := newFixture(t)
	f.book.change(func(q *Query) { q.Document, q.Expires = "", time.Time{} })
	answers := make(chan answer, 1)
	go func() { answers <- f.refused("shop/q", encoded(f.secret)) }()
	f.waiters(1)
	f.clock.Step(defaultWait)
	if got := next(t, answers, "answer"); got.Status != http.StatusServiceUnavailable || got.Error.Code != wire.CodeBusy || got.RetryAfter == "" {
		t.Errorf("got %+v", got)
	}
}

func TestWhoWaitsIsBoundedAndOthersAreNotHeldUp(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.MaxWaiting = 2 })
	wait := func() chan answer {
		answers := make(chan answer, 1)
		go func() { answers <- f.refused("shop/none", encoded(f.secret)) }()
		return answers
	}
	first := wait()
	f.waiters(1)
	// One address takes no more than half.
	if got := next(t, wait(), "answer"); got.Status != http.StatusServiceUnavailable || got.Error.Code != wire.CodeBusy {
		t.Errorf("one too many got %+v", got)
	}
	f.collect()
	f.handler.Stop()
	if got := f.refused("shop/q", encoded(f.secret)); got.Error.Code != wire.CodeBusy {
		t.Errorf("and who comes then gets %+v", got)
	}
	if got := next(t, first, "answer"); got.Error.Code != wire.CodeBusy {
		t.Errorf("at the end of the replica who waits gets %+v", got)
	}
}
