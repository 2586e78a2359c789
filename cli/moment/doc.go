// Package moment reads the time that a person means: "yesterday 18:00", "2h ago", "monday", "2026-11-28 14:30", RFC 3339.
//
// Times of day are local. A time that could be ahead is the last one that was not: "18:00" in the morning is yesterday's. Everything here is pure.
package moment
