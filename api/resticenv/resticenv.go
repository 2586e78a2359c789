package resticenv

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Password is the variable that every repository needs.
const Password = "RESTIC_PASSWORD"

// RclonePrefix begins the variables that configure rclone.
const RclonePrefix = "RCLONE_"

// Names of backends that need care.
const (
	Local  = "local"
	Rclone = "rclone"
)

// variables that may reach restic beside Password, by backend.
var variables = map[string][]string{
	Local:  nil,
	"sftp": nil,
	"rest": {"RESTIC_REST_USERNAME", "RESTIC_REST_PASSWORD"},
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
	Rclone: nil,
}

// Backends lists the backends, sorted.
func Backends() []string { return slices.Sorted(maps.Keys(variables)) }

// Backend returns the backend of a repository URL, Local for an absolute path. The error does not quote the URL, which might hold a password.
func Backend(url string) (string, error) {
	if strings.HasPrefix(url, "/") {
		return Local, nil
	}
	scheme, _, found := strings.Cut(url, ":")
	if _, known := variables[scheme]; !found || !known {
		return "", fmt.Errorf("begins with no backend that restic knows: begin it with one of %s, or give an absolute path", strings.Join(Backends(), ", "))
	}
	return scheme, nil
}

// Check tells whether these variables may reach restic for a backend, and whether Password is among them. The error completes a
// sentence that begins with "… holds"; it names the variable, never a value.
func Check(backend string, environment map[string]string) error {
	allowed, known := variables[backend]
	if !known {
		return fmt.Errorf("credentials for the unknown backend %q; known are %s", backend, strings.Join(Backends(), ", "))
	}
	for _, name := range slices.Sorted(maps.Keys(environment)) {
		if strings.ContainsRune(environment[name], 0) {
			return fmt.Errorf("the variable %q with a NUL byte in its value; no program can be given that", name)
		}
		switch {
		case name == Password, slices.Contains(allowed, name):
		case strings.HasPrefix(name, RclonePrefix) && !strings.ContainsAny(name, "=\x00"):
			if backend != Rclone {
				return fmt.Errorf("the variable %s, which is for rclone: repositories only; remove it", name)
			}
		default:
			return fmt.Errorf("the variable %q, which may not be passed to restic for a %s repository (allowed: %s); remove it",
				name, backend, strings.Join(append([]string{Password}, allowed...), ", "))
		}
	}
	if environment[Password] == "" {
		return fmt.Errorf("no %s; add it", Password)
	}
	return nil
}
