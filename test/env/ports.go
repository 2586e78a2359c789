package env

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
)

const lowestPort = 12000

var ports struct {
	sync.Mutex
	given map[int]bool
}

// FreePort returns a loopback TCP port that nobody listens on and that this process has not been given before. It lies
// below the kernel's ephemeral range.
func FreePort() (int, error) {
	ports.Lock()
	defer ports.Unlock()
	if ports.given == nil {
		ports.given = map[int]bool{}
	}
	end := ephemeralStart()
	for range 200 {
		port := lowestPort + rand.IntN(end-lowestPort)
		if ports.given[port] {
			continue
		}
		listener, err := net.Listen("tcp4", loopback(port))
		if err != nil {
			continue
		}
		if err := listener.Close(); err != nil {
			return 0, err
		}
		ports.given[port] = true
		return port, nil
	}
	return 0, fmt.Errorf("no free loopback port between %d and %d in 200 tries", lowestPort, end)
}

func ephemeralStart() int {
	const usual = 32768
	data, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		return usual
	}
	fields := strings.Fields(string(data))
	if len(fields) != 2 {
		return usual
	}
	start, err := strconv.Atoi(fields[0])
	if err != nil || start < lowestPort+1000 {
		return usual
	}
	return start
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

const portAttempts = 5

// onFreePorts calls start with n fresh ports until it does not fail for a taken port. start must leave nothing running
// when it fails.
func onFreePorts(n int, start func(ports []int) error) error {
	var err error
	for range portAttempts {
		picked := make([]int, n)
		for i := range picked {
			if picked[i], err = FreePort(); err != nil {
				return err
			}
		}
		if err = start(picked); err == nil {
			return nil
		}
		var exited *ExitedError
		if !errors.As(err, &exited) || !strings.Contains(exited.LogTail, "address already in use") {
			return err
		}
	}
	return err
}
