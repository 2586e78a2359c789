package env

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// WriteKey is what writes are counted by.
type WriteKey struct {
	// User is short: that of a service account without its namespace.
	User string
	// Resource is resource.group/subresource, for instance hosts.backup.restic-manager.io/status, or events.events.k8s.io.
	Resource string
}

// Writes are numbers of writes.
type Writes map[WriteKey]int

// CountWrites counts the writes (see AuditEntry.IsWrite) among entries that satisfy every condition.
func CountWrites(entries []AuditEntry, conditions ...func(AuditEntry) bool) Writes {
	w := Writes{}
	for _, e := range entries {
		if !e.IsWrite() || slices.ContainsFunc(conditions, func(ok func(AuditEntry) bool) bool { return !ok(e) }) {
			continue
		}
		w[WriteKey{User: shortUser(e.User), Resource: e.resource()}]++
	}
	return w
}

// InNamespace is a condition for CountWrites.
func InNamespace(namespace string) func(AuditEntry) bool {
	return func(e AuditEntry) bool { return e.Namespace == namespace }
}

// ByUser is a condition for CountWrites. A service account may be given by its name alone.
func ByUser(user string) func(AuditEntry) bool {
	return func(e AuditEntry) bool { return e.User == user || shortUser(e.User) == user }
}

// Of sums the writes to a resource by all users. The group may be left out: hosts/status stands for hosts.backup.restic-manager.io/status.
func (w Writes) Of(resource string) int {
	return w.sum(func(k WriteKey) bool { return k.Resource == resource || withoutGroup(k.Resource) == resource })
}

// By sums the writes of a user to all resources.
func (w Writes) By(user string) int {
	return w.sum(func(k WriteKey) bool { return k.User == shortUser(user) })
}

// Total is the number of all writes.
func (w Writes) Total() int { return w.sum(func(WriteKey) bool { return true }) }

func (w Writes) sum(ok func(WriteKey) bool) int {
	n := 0
	for k, count := range w {
		if ok(k) {
			n += count
		}
	}
	return n
}

// String is a table, the most frequent first: one line for each user and resource.
func (w Writes) String() string {
	keys := slices.SortedFunc(maps.Keys(w), func(a, b WriteKey) int {
		return cmp.Or(cmp.Compare(w[b], w[a]), cmp.Compare(a.User, b.User), cmp.Compare(a.Resource, b.Resource))
	})
	var s strings.Builder
	for _, k := range keys {
		fmt.Fprintf(&s, "%6d  %-40s %s\n", w[k], k.User, k.Resource)
	}
	return s.String()
}

// shortUser takes the namespace from a service account's name.
func shortUser(user string) string {
	if rest, ok := strings.CutPrefix(user, "system:serviceaccount:"); ok {
		if _, name, ok := strings.Cut(rest, ":"); ok {
			return name
		}
	}
	return user
}

func withoutGroup(resource string) string {
	resource, subresource, nested := strings.Cut(resource, "/")
	resource, _, _ = strings.Cut(resource, ".")
	if nested {
		return resource + "/" + subresource
	}
	return resource
}
