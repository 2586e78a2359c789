package restic

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// backendVariables are the variables that may reach restic, by backend. Everything else is refused by name: many a variable that restic,
// its libraries, ssh or rclone understand runs a program or reads a file as root (RESTIC_PASSWORD_COMMAND, RESTIC_PASSWORD_FILE, PATH,
// LD_PRELOAD, AWS_SHARED_CREDENTIALS_FILE with its credential_process, AZURE_FORCE_CLI_CREDENTIAL), or changes whose backups these are (RESTIC_HOST, RESTIC_REPOSITORY).
var backendVariables = map[string][]string{
	"local": nil,
	"sftp":  nil,
	"rest":  {"RESTIC_REST_USERNAME", "RESTIC_REST_PASSWORD"},
	"s3": {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_DEFAULT_REGION", "AWS_REGION",
		"RESTIC_AWS_ASSUME_ROLE_ARN", "RESTIC_AWS_ASSUME_ROLE_SESSION_NAME", "RESTIC_AWS_ASSUME_ROLE_EXTERNAL_ID",
		"RESTIC_AWS_ASSUME_ROLE_REGION", "RESTIC_AWS_ASSUME_ROLE_POLICY", "RESTIC_AWS_ASSUME_ROLE_STS_ENDPOINT"},
	"b2":    {"B2_ACCOUNT_ID", "B2_ACCOUNT_KEY"},
	"azure": {"AZURE_ACCOUNT_NAME", "AZURE_ACCOUNT_KEY", "AZURE_ACCOUNT_SAS", "AZURE_ENDPOINT_SUFFIX", "AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET"},
	"gs":    {"GOOGLE_PROJECT_ID", "GOOGLE_ACCESS_TOKEN"},
	"swift": {"ST_AUTH", "ST_USER", "ST_KEY", "OS_AUTH_URL", "OS_REGION_NAME", "OS_USERNAME", "OS_USER_ID", "OS_PASSWORD", "OS_TENANT_ID", "OS_TENANT_NAME",
		"OS_USER_DOMAIN_NAME", "OS_USER_DOMAIN_ID", "OS_PROJECT_NAME", "OS_PROJECT_DOMAIN_NAME", "OS_PROJECT_DOMAIN_ID", "OS_TRUST_ID",
		"OS_APPLICATION_CREDENTIAL_ID", "OS_APPLICATION_CREDENTIAL_NAME", "OS_APPLICATION_CREDENTIAL_SECRET",
		"OS_STORAGE_URL", "OS_AUTH_TOKEN", "SWIFT_DEFAULT_CONTAINER_POLICY"},
	"rclone": nil,
}

const passwordVariable = "RESTIC_PASSWORD"

// safePath is where restic finds ssh and rclone, whatever the agent was started with.
const safePath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

var proxyVariables = []string{"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"}

func backends() []string { return slices.Sorted(maps.Keys(backendVariables)) }

// CheckEnvironment tells whether these variables may reach restic for a backend ("rest", "s3", …, "local"). The error names the
// variable, never a value.
func CheckEnvironment(backend string, environment map[string]string, consent Consent) error {
	allowed, known := backendVariables[backend]
	if !known {
		return invalid("there is no backend %q; known are %s", backend, strings.Join(backends(), ", "))
	}
	for _, name := range slices.Sorted(maps.Keys(environment)) {
		if strings.ContainsRune(environment[name], 0) {
			return invalid("the credentials' variable %s holds a NUL byte", name)
		}
		switch {
		case name == passwordVariable, slices.Contains(allowed, name):
		case strings.HasPrefix(name, "RCLONE_") && !strings.ContainsAny(name, "=\x00"):
			if backend != "rclone" {
				return invalid("the credentials hold the variable %s, which is for rclone: repositories only; remove it", name)
			}
			if !consent.Rclone {
				return invalid("the credentials hold the variable %s, and this machine does not allow rclone; its owner can, in agent.yaml (consent: rclone)", name)
			}
		default:
			return invalid("the credentials hold the variable %q, which may not be passed to restic for a %s repository (allowed: %s); remove it",
				name, backend, strings.Join(append([]string{passwordVariable}, allowed...), ", "))
		}
	}
	if environment[passwordVariable] == "" {
		return invalid("the credentials hold no %s", passwordVariable)
	}
	return nil
}

// environment of a restic process: built from nothing, so that nothing of the agent's own reaches it.
func (r *Runner) environment(repository Repository, runDir string) ([]string, error) {
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
	maps.Copy(env, repository.Environment)
	out := make([]string, 0, len(env))
	for _, name := range slices.Sorted(maps.Keys(env)) {
		out = append(out, fmt.Sprintf("%s=%s", name, env[name]))
	}
	return out, nil
}
