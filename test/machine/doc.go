// Package machine tests how the agent gets onto a machine: the installer, the packages, the systemd unit and its drop-ins.
//
// # Use
//
//	go test ./test/machine        # alone, as root; a minute once components are built
//
// # What is real, and what is not
//
// A machine here is this computer's own systemd, booted as PID 1 in namespaces and a control group of its own (boot.sh), on a root that shows this computer's files and
// keeps what is written in memory. So the unit's restrictions are those that systemd makes of it, on this kernel; dpkg, systemctl, bash and curl are the
// real ones; gateway, controllers and API server are those of package stack. What is not: udev, the network (it is this computer's), and sudo, which is a script that
// stays root. RPMs are looked into with Debian's rpm, and not installed. Distributions other than the one that runs the tests are not tried.
//
// The tests need root, Debian's packages systemd, dpkg, rpm, shellcheck, dash and man-db, and cgroup v2 in the kernel. Missing tools are installed with
// apt-get where that is possible (hack/debian-tools.sh); where not, tests fail and say so. Without root they are skipped, unless CI is set.
package machine
