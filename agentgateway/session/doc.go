// Package session is one WebSocket of one agent: authenticate, read, write. It never knows Kubernetes; what a session means is for its
// Handler.
//
// # Use
//
// A Server is the http.Handler for wire.ConnectPath. For each connection it sends the challenge, reads the hello within HelloTimeout,
// checks it with the key that the Handler knows for the host, and asks the Handler to Admit the session, which may take its time: those who have proved
// who they are wait in line, and are told so. After the welcome it calls Opened, then Received for each message but heartbeats, and at the end Closed, all from one goroutine per session.
//
// # What a peer can cost
//
// Frames are bounded by wire.MaxFrame and read into memory that sessions share, the time to the hello by HelloTimeout, the time between two frames by Idle (a read deadline of
// the socket, no timer or goroutine of its own), the time of a write by WriteTimeout, or by Idle behind a pong that the peer does not take. Connections, handshakes under way and attempts per
// second have limits, and the line of those who wait to be admitted has one in time; what is over them gets HTTP 503 with a wire.Error busy and a Retry-After before
// anything is allocated for it. Each is told another time, when by the measured pace those before it are through (pace.Line): a fleet comes back as fast as it can be taken. One
// address that opens connections and says nothing takes no more than half of the handshakes. An invalid
// message ends the session with bad_message; a message of an unknown type is ignored. Data frames are refused until the agent was asked for a stream.
//
// The HTTP handler returns as soon as the connection is taken over: a session is one goroutine, and what net/http kept for the request
// can be freed. A write borrows the goroutine of its caller.
//
// # Locks
//
// Session.Close may be called from anywhere and does not block. Session.Write may be called concurrently; a lock orders messages, and the WebSocket orders these, pongs and the
// close frame.
// The Server holds atomic counters and, in pace.Places, a lock for the count of handshakes by address.
package session
