package enrol

import (
	"crypto/sha1" // what rest-server reads beside bcrypt; see the package's page
	"encoding/base64"
)

// Htpasswd is the line of a user and password for a rest-server; empty for credentials of another kind.
func Htpasswd(secret map[string][]byte) string {
	user, password := secret["RESTIC_REST_USERNAME"], secret["RESTIC_REST_PASSWORD"]
	if len(user) == 0 || len(password) == 0 {
		return ""
	}
	sum := sha1.Sum(password)
	return string(user) + ":{SHA}" + base64.StdEncoding.EncodeToString(sum[:])
}
