// Package install serves the installer of the agent and what it fetches, from one folder of the gateway's image.
//
// # Use
//
//	files, err := install.Open(folder)
//	handler := install.New(install.Options{Files: files, …})
//	mux.Handle("GET "+install.Path, handler)
//
// # Internals
//
// Open reads the folder once, when the gateway starts: what has a fitting name is served, with its SHA-256 as ETag; nothing else can be asked for, so that
// no path leads anywhere. Contents are opened again for each request.
//
// # Trust
//
// What is served here is not trusted by machines: the line of the enrolment Secret holds the checksum of install.sh, and install.sh those of the rest.
//
// # What it may cost
//
// Agents come first. Downloads take places of their own (few, and shared fairly between addresses), answers have a rate for each address, and all of a replica's
// downloads together have a bandwidth. A reader that is too slow is cut off; who is turned away is told when to come again.
package install
