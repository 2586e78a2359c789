// Package untar unpacks an archive from a machine into a local folder. The machine may be in foreign hands: nothing is written outside the folder, whatever the archive
// says.
//
// # Use
//
//	done, err := untar.Into(root, stream, untar.Options{Overwrite: untar.Refuse})
//
// # Internals
//
// Everything goes through an os.Root, which follows no path and no link out of the folder. Absolute names lose their slash, names with .. are refused, devices and
// sockets are left out and counted. Links are made as they are: one that points out of the folder is harmless until somebody follows it, and the archive cannot.
// Owners are kept where this program runs as root. Modes of folders come last, so that one without write permission can be filled; setuid and the like are dropped.
package untar
