package wire

import "unicode/utf8"

// Cut shortens a text for people to at most limit bytes and marks that with "…". It never splits a character.
func Cut(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	end := limit - len("…")
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "…"
}
