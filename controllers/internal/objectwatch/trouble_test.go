package objectwatch

import (
	"context"
	"errors"
	"slices"
	"testing"
)

func TestTroubleIsToldOnceUntilItChanges(t *testing.T) {
	var trouble Trouble
	var told []string
	note := func(ctx context.Context, err error) {
		trouble.Note(ctx, err, func(text string) { told = append(told, "begins: "+text) }, func(text string) { told = append(told, "over: "+text) })
	}
	ended, end := context.WithCancel(t.Context())
	end()
	for _, err := range []error{nil, errors.New("away"), errors.New("away"), errors.New("refused"), nil, nil} {
		note(t.Context(), err)
		note(ended, errors.New("the end"))
	}
	if want := []string{"begins: away", "begins: refused", "over: refused"}; !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
}
