// Package atomicfile replaces files so that a reader, and a machine that loses power at any instant, sees either the whole old
// content or the whole new one.
//
// # Use
//
// Write replaces a file's content; Remove takes a file away durably; SetAside keeps a damaged one under another name; MkdirAll makes a private folder durably. Files get mode 0600,
// folders 0700. Who keeps its state in one file takes a File, which At makes from a path.
//
// # Internals and trade-offs
//
// The content goes to a temporary file in the same folder (a rename works only within one file system), is fsynced, renamed over
// the target, and the folder is fsynced: without that last step the rename itself can be lost. A crash can leave a temporary file
// behind; its name begins with TempPrefix, and CleanTemp removes such leftovers at start. Two fsyncs cost some milliseconds on a
// disk, so this is for state, not for logs.
//
// The package holds no state and no locks. Two concurrent writers of one file do not damage it; the later rename wins.
package atomicfile
