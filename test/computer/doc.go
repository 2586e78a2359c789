// Package computer boots a machine for tests: this computer's own systemd as PID 1, in namespaces and a control group of its own (boot.sh), on a root that
// shows this computer's files and keeps what is written in memory.
//
// # Use
//
//	c, err := computer.Boot(ctx, dir)
//	defer c.Stop()
//	out, err := c.Try(ctx, "", "systemctl status")
//
// It needs root, and [Tools]; Missing tools are installed by InstallTools where apt-get can.
//
// # What is not as on a machine
//
// udev, the network (it is that of whoever boots it) and sudo, which is a script that stays root.
package computer
