package restic

import (
	"encoding/json"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

const redacted = "***"

// userinfo is what stands between "://" and "@"; restic prints "http://:***@host" itself when the credentials came by environment.
var userinfo = regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.-]*://)[^/\s"'<>]*@`)

// RedactURL returns a repository URL, or a text with URLs in it, without user names and passwords.
func RedactURL(text string) string { return userinfo.ReplaceAllString(text, "$1") }

// redactor takes secrets out of text, by value.
type redactor struct{ replacer *strings.Replacer }

// publicVariables hold names of places, not secrets; hiding them would make messages unreadable.
var publicVariables = []string{"AWS_DEFAULT_REGION", "AWS_REGION", "OS_REGION_NAME", "OS_AUTH_URL", "ST_AUTH", "OS_STORAGE_URL", "AZURE_ENDPOINT_SUFFIX",
	"AZURE_ACCOUNT_NAME", "GOOGLE_PROJECT_ID", "RESTIC_REST_USERNAME", "OS_USERNAME", "ST_USER", "OS_PROJECT_NAME", "OS_TENANT_NAME",
	"OS_USER_DOMAIN_NAME", "OS_PROJECT_DOMAIN_NAME", "SWIFT_DEFAULT_CONTAINER_POLICY", "RESTIC_AWS_ASSUME_ROLE_REGION", "RESTIC_AWS_ASSUME_ROLE_STS_ENDPOINT"}

func newRedactor(environment map[string]string) *redactor {
	var values []string
	for name, value := range environment {
		if value == "" || slices.Contains(publicVariables, name) {
			continue
		}
		values = append(values, value, url.QueryEscape(value), url.PathEscape(value))
		if quoted, err := json.Marshal(value); err == nil {
			values = append(values, string(quoted[1:len(quoted)-1]))
		}
		// Lines are redacted one by one: a secret of several lines is hidden line by line.
		if lines := strings.FieldsFunc(value, func(r rune) bool { return r == '\n' || r == '\r' }); len(lines) > 1 {
			values = append(values, lines...)
		}
	}
	// The longest first: a secret that contains another one must go as a whole.
	slices.SortFunc(values, func(a, b string) int { return len(b) - len(a) })
	values = slices.Compact(values)
	pairs := make([]string, 0, 2*len(values))
	for _, value := range values {
		pairs = append(pairs, value, redacted)
	}
	return &redactor{replacer: strings.NewReplacer(pairs...)}
}

func (r *redactor) text(s string) string { return RedactURL(r.replacer.Replace(s)) }
