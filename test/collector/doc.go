// Package collector stands for controllers, gateway and agent where a test asks as a requester: it signs HostQueries, and answers them over TLS as
// docs/adr/0029-answers-are-streams-to-the-requester.md says.
//
// # Use
//
//	c := collector.Start(t, client, func(q *wire.HostQuery, p wire.QueryParameters, w *collector.Writer) error { return w.Record(…) })
//	host.Spec.Identity = c.Identity()
//
// An Answer that returns nil ends with a complete AnswerEnd, one that returns an End with that; ErrDrop, ErrLost and ErrExpired end the stream as a network, a gateway and the
// time do.
package collector
