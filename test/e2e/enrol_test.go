package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

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

	w.expired()

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

// expired lets a token run out: nobody renews it while the controllers are away.
func (w *world) expired() {
	w.Helper()
	w.host("late")
	line, err := w.EnrollCommand(w.Context(), w.ns, "late")
	w.must(err)
	w.eventually("the token that the Secret has is in status too", func(context.Context) error {
		if e := w.mustHost("late").Status.Enrollment; e == nil || e.TokenIDHash == "" || e.ExpiresAt == nil {
			return fmt.Errorf("enrollment is %+v", e)
		}
		return nil
	})
	w.stopController()
	host := w.mustHost("late")
	past := metav1.NewTime(time.Now().Add(-time.Minute))
	w.changeStatus(host, func() { host.Status.Enrollment.ExpiresAt = &past })
	a, err := w.NewMachine(stack.Machine{Namespace: w.ns, Host: "late"})
	w.must(err)
	if err := w.RunEnroll(w.Context(), a, line); err == nil || !strings.Contains(a.EnrollOutput, "has expired") {
		w.Errorf("a token that is expired: enroll said %q (%v), want a failure that says so", a.EnrollOutput, err)
	}
	w.event(v1alpha1.EventEnrolmentRefused, "expired")
	w.startController()
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
