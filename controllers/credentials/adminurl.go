package credentials

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/restic-manager/restic-manager/api/resticenv"
	"github.com/restic-manager/restic-manager/api/v1alpha1"
)

// maxURL is the bound of spec.repository.url.
const maxURL = 2048

// userInURL is what the schema refuses in spec.repository.url.
var userInURL = regexp.MustCompile(`^[^/]*//[^/]*@`)

// checkAdminURL judges RESTIC_REPOSITORY as the schema and the Host's reconciler judge spec.repository.url, and returns its backend. The error completes a
// sentence that begins with "… holds". It does not quote the URL, which might hold a password.
func checkAdminURL(value []byte) (string, error) {
	const key = v1alpha1.AdminRepositoryKey
	url := string(value)
	switch {
	case url == "":
		return "", fmt.Errorf("an empty %s: give the URL by which the access that may delete goes, or remove it", key)
	case len(url) > maxURL:
		return "", fmt.Errorf("a %s of %d bytes, at most %d are allowed", key, len(url), maxURL)
	case !utf8.ValidString(url), strings.TrimSpace(url) != url, strings.ContainsFunc(url, unicode.IsControl):
		return "", fmt.Errorf("a %s with a line break, or with white space around it; remove that", key)
	case userInURL.MatchString(url):
		return "", fmt.Errorf("a %s with a user or password inside the URL: put them into RESTIC_REST_USERNAME and RESTIC_REST_PASSWORD", key)
	}
	backend, err := resticenv.Backend(url)
	if err != nil {
		return "", fmt.Errorf("a %s that %w", key, err)
	}
	return backend, nil
}
