package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/test/stack"
)

func TestEveryBadTokenTellsThePersonWhatToDo(t *testing.T) {
	w := newWorld(t, "enrol")
	w.host("one")
	line, err := w.EnrollCommand(t.Context(), w.ns, "one")
	w.must(err)
	token := tokenOf(t, line)

	retoken := func(edit func(*wire.Token)) string {
		parsed, err := wire.ParseToken(token)
		w.must(err)
		edit(parsed)
		word, err := parsed.Encode()
		w.must(err)
		return strings.Replace(line, token, word, 1)
	}
	tests := []struct {
		name, line, says string
		event            bool
	}{
		{"cut-off", strings.Replace(line, token, token[:len(token)-9], 1), "copy the whole line", false},
		{"wrong", retoken(func(t *wire.Token) { t.ID = "somebody-elses" }), "ask for a new one", true},
		{"tampered-secret", retoken(func(t *wire.Token) { t.Secret[0] ^= 1 }), "ask for a new one", true},
		{"expired", retoken(func(t *wire.Token) { t.NotAfter = time.Now().Add(-time.Minute) }), "expired", false},
	}
	for _, test := range tests {
		a, err := w.NewMachine(stack.Machine{Namespace: w.ns, Host: "one-" + test.name})
		w.must(err)
		err = w.RunEnroll(t.Context(), a, test.line)
		if err == nil || !strings.Contains(a.EnrollOutput, test.says) {
			t.Errorf("a token that is %s: enroll said %q (%v), want a failure that says %q", test.name, a.EnrollOutput, err, test.says)
		}
		if strings.Contains(a.EnrollOutput, token) {
			t.Errorf("a token that is %s is printed", test.name)
		}
		if test.event {
			w.event(v1alpha1.EventEnrolmentRefused)
		}
	}

	good, err := w.Enroll(t.Context(), stack.Machine{Namespace: w.ns, Host: "one"})
	w.must(err)
	w.start(good)
	w.settled("one")
	w.event(v1alpha1.EventEnrolled)

	// The line again, on another machine: other keys.
	other, err := w.NewMachine(stack.Machine{Namespace: w.ns, Host: "one-again"})
	w.must(err)
	if err := w.RunEnroll(t.Context(), other, line); err == nil || !strings.Contains(other.EnrollOutput, "used") {
		t.Errorf("a used token: enroll said %q (%v), want a failure that says so", other.EnrollOutput, err)
	}
	w.event(v1alpha1.EventEnrolmentRefused, "used")
}

// tokenOf finds the token in the line to paste.
func tokenOf(t *testing.T, line string) string {
	t.Helper()
	_, rest, ok := strings.Cut(line, wire.TokenPrefix)
	if !ok {
		t.Fatal("the line holds no token")
	}
	word, _, _ := strings.Cut(rest, "'")
	return wire.TokenPrefix + word
}
