// Package selecting answers by indexes of the cache which Hosts an object selects, and which objects select a Host, so that what a change costs is in
// proportion to the Hosts that it touches, however many others the namespace has.
//
// # Use
//
//	err := selecting.AddIndexes(ctx, mgr.GetFieldIndexer())       // once, before the cache starts
//	hosts, err := selecting.Hosts(ctx, client, namespace, group.Spec.Selector)
//	groups, err := selecting.Groups(ctx, client, host)
//	schedules, err := selecting.Schedules(ctx, client, namespace, "etc", "home")
//
// What is returned is shared with the cache and must not be changed.
//
// # Internals
//
// Each Host is indexed by its name and by each of its labels, with and without the value. Each selector has anchors: its hostRef, or one of its requirements, all
// alternatives of it. Who matches a selector has one of its anchors among its keys, so a look at the anchors finds all candidates, in either direction; then
// the whole selector decides. The requirement is the first of matchLabels by key, else the first In, else the first Exists of matchExpressions. A selector
// without any of these (an empty one, or one that only excludes) is for nearly all Hosts, and looks at all of them.
//
// # Trade-offs
//
// Of several requirements one is looked up, not the rarest of them: the cache does not know which that is without listing each. A selector whose first
// label is on every Host costs a look at every Host; put into words, {env: prod, role: db} is as cheap as {env: prod}.
package selecting
