// Package tree makes a varied folder of files to back up, changes it, and compares two folders in everything that a restore must bring
// back: content, kind, mode, modification time, link targets, hard links and holes.
package tree
