package wire

import (
	"encoding/json"
	"fmt"
)

// document is what signed documents have in common.
type document[T any] interface {
	*T
	Validate() error
}

func parseDocument[T any, P document[T]](raw string) (P, error) {
	if len(raw) > MaxBundle {
		return nil, fmt.Errorf("document of %d bytes is over the limit of %d", len(raw), MaxBundle)
	}
	v := P(new(T))
	if err := json.Unmarshal([]byte(raw), v); err != nil {
		return nil, fmt.Errorf("document does not parse: %w", err)
	}
	if err := v.Validate(); err != nil {
		return nil, err
	}
	return v, nil
}

// EncodeDocument validates a signed document's content and returns the exact bytes to sign.
func EncodeDocument(v interface{ Validate() error }) (string, error) {
	if err := v.Validate(); err != nil {
		return "", err
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return "", err
	}
	if len(raw) > MaxBundle {
		return "", fmt.Errorf("document of %d bytes is over the limit of %d", len(raw), MaxBundle)
	}
	return string(raw), nil
}
