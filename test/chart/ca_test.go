package chart

import (
	"encoding/base64"
	"os"
	"testing"

	"github.com/restic-manager/restic-manager/test/env"
)

// testCA is some authority, as in caBundle.
func testCA(t *testing.T) string {
	t.Helper()
	ca, err := env.EnsureCA(t.TempDir(), "test CA")
	if err != nil {
		t.Fatal(err)
	}
	pem, err := os.ReadFile(ca.CertFile)
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(pem)
}
