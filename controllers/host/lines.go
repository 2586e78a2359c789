package host

import (
	"fmt"
	"maps"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// Keys of the enrolment Secret.
const (
	keyToken = "token"
	// keyCommand holds the line for a machine that has the agent.
	keyCommand = "command"
	// keyInstall holds the line for a machine that has nothing; it is there when the gateway serves the installer that the controllers know.
	keyInstall = "install"
)

// lines are the content of an enrolment Secret: a token, and what to paste with it. Whatever is added to the end of a line is a flag of what it runs.
func (r *Reconciler) lines(token string) map[string][]byte {
	lines := map[string][]byte{
		keyToken: []byte(token),
		// On stdin, where other users of the machine do not see it.
		keyCommand: fmt.Appendf(nil, "printf %%s '%s' | sudo restic-manager-agent enroll --token -\n", token),
	}
	if r.InstallSHA256 != "" {
		lines[keyInstall] = []byte(installLine(strings.TrimRight(r.GatewayURL, "/")+"/install/install.sh", r.InstallSHA256, token))
	}
	return lines
}

// installLine fetches the installer from a gateway that is not trusted, and runs it if it is the one that the controllers know. The certificate is not looked
// at for the same reason. The script removes its file when it ends.
func installLine(url, sum, token string) string {
	return fmt.Sprintf(`f=$(mktemp /tmp/restic-manager-install.XXXXXX)`+
		` && { curl -fsSk '%[1]s' -o "$f" || wget -q --no-check-certificate '%[1]s' -O "$f"; }`+
		` && echo "%[2]s  $f" | sha256sum -c - >/dev/null`+
		` && printf %%s '%[3]s' | sudo bash "$f" --token -`+"\n", url, sum, token)
}

// stale tells whether a Secret with a token that is still good holds other lines than it would now: those of an earlier installer.
func (r *Reconciler) stale(secret *corev1.Secret) bool {
	return secret != nil && !maps.EqualFunc(secret.Data, r.lines(string(secret.Data[keyToken])), func(a, b []byte) bool { return string(a) == string(b) })
}
