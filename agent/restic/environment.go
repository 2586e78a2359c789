package restic

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/restic-manager/restic-manager/api/resticenv"
)

// safePath is where restic finds ssh and rclone, whatever the agent was started with.
const safePath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

var proxyVariables = []string{"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"}

// CheckEnvironment tells whether these variables may reach restic for a backend ("rest", "s3", …, "local"). The error names the
// variable, never a value.
func CheckEnvironment(backend string, environment map[string]string, consent Consent) error {
	if err := resticenv.Check(backend, environment); err != nil {
		return invalid("the credentials hold %s", err)
	}
	for _, name := range slices.Sorted(maps.Keys(environment)) {
		if strings.HasPrefix(name, resticenv.RclonePrefix) && !consent.Rclone {
			return invalid("the credentials hold the variable %s, and this machine does not allow rclone; its owner can, in agent.yaml (consent: rclone)", name)
		}
	}
	return nil
}

// environment of a restic process: built from nothing, so that nothing of the agent's own reaches it.
func (r *Runner) environment(repository Repository, runDir string, variables map[string]string) ([]string, error) {
	env := map[string]string{
		"PATH":                safePath,
		"LANG":                "C.UTF-8",
		"HOME":                runDir, // an empty folder: the libraries of several backends look for credentials there
		"TMPDIR":              runDir,
		"RESTIC_PROGRESS_FPS": "1",
		"RESTIC_REPOSITORY":   repository.URL,
	}
	for name, value := range r.Proxy {
		if !slices.Contains(proxyVariables, name) {
			return nil, invalid("Runner.Proxy has %q; only %s may be there", name, strings.Join(proxyVariables, ", "))
		}
		env[name] = value
	}
	maps.Copy(env, variables)
	maps.Copy(env, repository.Environment)
	out := make([]string, 0, len(env))
	for _, name := range slices.Sorted(maps.Keys(env)) {
		out = append(out, fmt.Sprintf("%s=%s", name, env[name]))
	}
	return out, nil
}
