package wire_test

import (
	"testing"

	"github.com/restic-manager/restic-manager/api/wire"
)

func TestACutTextFitsAndSplitsNoCharacter(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		limit      int
		want       string
	}{
		{"what fits stays", "abcdef", 6, "abcdef"},
		{"what does not says so", "abcdefg", 6, "abc…"},
		{"a character that would be split goes whole", "aüüüü", 7, "aü…"},
		{"one before the cut stays", "aüüüü", 8, "aüü…"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := wire.Cut(tt.text, tt.limit); got != tt.want || len(got) > tt.limit {
				t.Errorf("Cut(%q, %d) = %q, want %q", tt.text, tt.limit, got, tt.want)
			}
		})
	}
}
