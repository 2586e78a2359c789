// Package install tests the whole of an installation: the chart is installed with Helm on a real API server, its Pods run as test/node runs them, out of the
// very image that a release publishes; a machine with a real systemd (test/computer) is enrolled by the line of its Secret, with the installer that the
// gateway serves; it backs up and restores; and all of that goes on through an upgrade from the previous version.
//
// # Use
//
//	make test-install
//
// The previous version is built from the commit in testdata/previous; in a clone without history, from this checkout. Needs root, as test/node and
// test/computer do. What is not as in a cluster and on a machine stands there too.
package install
