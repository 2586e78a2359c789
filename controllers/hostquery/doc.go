// Package hostquery signs each HostQuery for its machine, says where the answer is collected, and deletes it when its time is over.
//
// # Use
//
//	err := (&hostquery.Reconciler{
//		Client: mgr.GetClient(), Namespaces: mgr.GetClient(), Clock: clock.RealClock{}, Signer: keys, Gateway: endpoint,
//	}).SetupWithManager(mgr)
//
// # Internals
//
// decide (pure) looks at the query and its Host and says what is to be; Reconcile writes it in one patch. Nothing is written about the answer: that is between the
// gateway, the machine and the requester. So a query costs its creation, one write and its deletion, and one more when its Host comes, goes or changes meanwhile.
//
// A query whose Host is not there, or not enrolled, waits for it until its time is over; what was signed for a Host that is gone, or for other keys, is
// withdrawn. Nobody but the controllers may write the status (RBAC), so a command in it was signed here.
//
// # Trade-offs
//
// A HostQuery has no owner. It lives for an hour at most and is deleted here, while an owner reference would cost each query one more write.
//
// A machine that is not connected gets its command all the same: it may come back within the minutes that the query is good for. Ready says so.
//
// Nothing here holds state or locks.
package hostquery
