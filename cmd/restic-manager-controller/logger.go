package main

import (
	"fmt"
	"io"
	"log/slog"

	"github.com/go-logr/logr"
)

// newLogger returns the logger of the whole process.
func newLogger(w io.Writer, level, format string) (logr.Logger, error) {
	options := &slog.HandlerOptions{}
	var parsed slog.Level
	if err := parsed.UnmarshalText([]byte(level)); err != nil {
		return logr.Logger{}, fmt.Errorf("--log-level is %q, it must be debug, info, warn or error", level)
	}
	options.Level = parsed
	switch format {
	case "json":
		return logr.FromSlogHandler(slog.NewJSONHandler(w, options)), nil
	case "text":
		return logr.FromSlogHandler(slog.NewTextHandler(w, options)), nil
	}
	return logr.Logger{}, fmt.Errorf("--log-format is %q, it must be json or text", format)
}
