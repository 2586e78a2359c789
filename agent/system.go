package agent

import (
	"os"
	"runtime"
	"strings"

	"github.com/restic-manager/restic-manager/api/wire"
)

// thisSystem describes the machine.
func thisSystem() wire.System {
	hostname, err := os.Hostname()
	if err != nil || len(hostname) > wire.MaxName {
		hostname = "unknown"
	}
	return wire.System{OS: runtime.GOOS, Arch: runtime.GOARCH, Hostname: strings.ToValidUTF8(hostname, "?")}
}

// proxyEnvironment is the machine's own proxy, for restic.
func proxyEnvironment() map[string]string {
	proxy := map[string]string{}
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"} {
		if value, set := os.LookupEnv(name); set {
			if upper := strings.ToUpper(name); proxy[upper] == "" {
				proxy[upper] = value
			}
		}
	}
	return proxy
}
