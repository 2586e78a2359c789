package wire

import (
	"fmt"
	"unicode/utf8"
)

// checks collects the first violation; it keeps Validate methods readable as a list.
type checks struct{ err error }

func (c *checks) failf(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf(format, args...)
	}
}

func (c *checks) that(ok bool, format string, args ...any) {
	if !ok {
		c.failf(format, args...)
	}
}

// text requires valid UTF-8 of at most limit bytes.
func (c *checks) text(field, value string, limit int) {
	c.that(len(value) <= limit, "%s is longer than %d bytes", field, limit)
	c.that(utf8.ValidString(value), "%s is not valid UTF-8", field)
}

// name requires a value of at most MaxName bytes.
func (c *checks) name(field, value string) {
	c.that(value != "", "%s is missing", field)
	c.text(field, value, MaxName)
}

func (c *checks) optionalName(field, value string) { c.text(field, value, MaxName) }

func (c *checks) size(field string, value []byte, want int) {
	c.that(len(value) == want, "%s has %d bytes, want %d", field, len(value), want)
}

func (c *checks) count(field string, n, limit int) {
	c.that(n <= limit, "%s has %d entries, at most %d are allowed", field, n, limit)
}

func (c *checks) texts(field string, values []string, limit int) {
	c.count(field, len(values), limit)
	for i, v := range values {
		c.text(fmt.Sprintf("%s[%d]", field, i), v, MaxString)
		if c.err != nil {
			return
		}
	}
}

func (c *checks) nested(field string, err error) {
	if err != nil {
		c.failf("%s: %w", field, err)
	}
}
