package objectwatch

import "context"

// Trouble is what hinders a keeper. The zero value is none. It is not safe for concurrent use.
type Trouble struct{ text string }

// Note takes the outcome of a round, and calls begins with what is new, or over with what hinders no more; nothing when it is as before, or when ctx has
// ended, whose error is that of the end.
func (t *Trouble) Note(ctx context.Context, err error, begins, over func(text string)) {
	if ctx.Err() != nil {
		return
	}
	before := t.text
	t.text = ""
	if err != nil {
		t.text = err.Error()
	}
	switch {
	case t.text != "" && t.text != before:
		begins(t.text)
	case t.text == "" && before != "":
		over(before)
	}
}
