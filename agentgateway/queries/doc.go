// Package queries knows the HostQueries there are, as the cache has them, and tells when one changes. It decides nothing.
//
// # Use
//
// New a Book, Watch before the cache starts, then ask for one Query at a time. Changes tells of one query to whoever collects its answer or waits for it; nobody else
// is woken.
//
// # Locks
//
// Book.mu guards who listens to which query. Nothing blocks while it is held.
package queries
