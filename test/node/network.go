package node

import (
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

const (
	bridge = "pods"
	// gateway is the bridge's own address, the node's for the Pods.
	gateway = "10.244.0.1"
	// sizes of the Pods' network and of a single address.
	podBits, singleBits = 24, 32
)

// prepareNetwork makes the bridge in this process's network namespace, which must be a fresh one. Mounts made here stay here.
func prepareNetwork() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making mounts private: %w", err)
	}
	if err := up("lo"); err != nil {
		return err
	}
	if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: bridge}}); err != nil {
		return fmt.Errorf("adding the bridge: %w", err)
	}
	if err := addAddress(bridge, gateway, podBits); err != nil {
		return err
	}
	if err := up(bridge); err != nil {
		return err
	}
	// The node hands on what Pods send to the addresses of Services.
	return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644)
}

func up(name string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return netlink.LinkSetUp(link)
}

func address(ip string, bits int) *netlink.Addr {
	return &netlink.Addr{IPNet: &net.IPNet{IP: net.ParseIP(ip), Mask: net.CIDRMask(bits, singleBits)}}
}

func addAddress(name, ip string, bits int) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if err := netlink.AddrAdd(link, address(ip, bits)); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("giving %s the address %s: %w", name, ip, err)
	}
	return nil
}

// plug connects the network namespace of a process to the bridge, with an address and a way out. It goes with the namespace.
func plug(pid, number int, ip string) error {
	parent, err := netlink.LinkByName(bridge)
	if err != nil {
		return err
	}
	space, err := netns.GetFromPid(pid)
	if err != nil {
		return err
	}
	defer space.Close()
	veth := &netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: fmt.Sprintf("pod%d", number), MasterIndex: parent.Attrs().Index}, PeerName: "eth0", PeerNamespace: netlink.NsFd(space),
	}
	if err := netlink.LinkAdd(veth); err != nil {
		return fmt.Errorf("adding the cable: %w", err)
	}
	if err := netlink.LinkSetUp(veth); err != nil {
		return err
	}
	there, err := netlink.NewHandleAt(space)
	if err != nil {
		return err
	}
	defer there.Close()
	for _, name := range []string{"lo", "eth0"} {
		link, err := there.LinkByName(name)
		if err != nil {
			return fmt.Errorf("%s in the Pod: %w", name, err)
		}
		if name == "eth0" {
			if err := there.AddrAdd(link, address(ip, podBits)); err != nil {
				return err
			}
		}
		if err := there.LinkSetUp(link); err != nil {
			return err
		}
	}
	return there.RouteAdd(&netlink.Route{Gw: net.ParseIP(gateway)})
}
