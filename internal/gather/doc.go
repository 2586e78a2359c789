// Package gather writes large pieces to a socket though TLS and WebSockets hand it small ones: a client's WebSocket masks its frames in steps of 4 KiB, and each step
// would be a TLS record in a system call of its own, which wakes up the peer.
//
// # Use
//
//	conn = gather.New(conn)                     // below TLS
//	err = gather.Of(tlsConn).Together(ctx, func() error { return ws.Write(ctx, …) })
//
// # Trade-offs
//
// Only what is written within Together is gathered, so that nothing ever waits for a timer. A connection has memory for it only meanwhile. A Conn may be used by several
// goroutines, as any net.Conn; what another one writes during Together goes with it.
//
// It imports the standard library only, since the agent does too.
package gather
