// Package stream moves answers from the sessions of agents to those who collect them. It never knows Kubernetes, and cannot read what it moves: chunks are sealed.
//
// # Use
//
// Each session of an agent has a Table. Table.Open reserves a number, Stream.Start asks the agent; the reader of the session gives every data frame to
// Table.Data and every stream.close to Table.Closed, and calls Table.End when the session is over. Whoever collects calls Next and Taken in turns, and Close at the
// end in any case. Package collect is the HTTP side of that, package relay the same Source by way of another replica.
//
// # What a peer can cost
//
// A stream begins with a credit of wire.StreamWindow, charged for whole data frames, and holds no more than that; credit is granted again as chunks are taken, in steps
// of a quarter. Chunks are kept in blocks, many small ones in one, so that a million cost what they were charged for. Blocks are shared by all streams; an empty stream has none. An agent that sends more than its credit has that
// stream ended, not its session. Data for a stream that is over or never was is dropped: it may have been under way when the stream was closed. A session has
// MaxOpen streams.
//
// # Locks
//
// Table.mu guards the map, Stream.mu one stream. They are never held together, nor while anything is sent. Nothing but Next blocks.
package stream
