package env

import (
	"context"
	"crypto/tls"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// restic runs restic against a user's repository and returns its output.
func restic(ctx context.Context, s *RestServer, binary, user, password, cache string, args ...string) (string, error) {
	path, err := Binary("", binary)
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, path, append([]string{"--cacert", s.CA.CertFile, "--cache-dir", cache}, args...)...)
	cmd.Env = []string{
		"RESTIC_REPOSITORY=" + s.RepositoryURL(user),
		"RESTIC_PASSWORD=repository-password",
		"RESTIC_REST_USERNAME=" + user,
		"RESTIC_REST_PASSWORD=" + password,
		"HOME=" + cache, "TMPDIR=" + cache,
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("restic %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return string(out), nil
}

func startRestServer(t *testing.T, options RestServerOptions) *RestServer {
	t.Helper()
	options.Log = t.Logf
	s, err := StartRestServer(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Kill(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestResticUsesItsOwnRepositoryThroughTLS(t *testing.T) {
	for _, binary := range []string{Restic, ResticOld} {
		t.Run(binary, func(t *testing.T) {
			cache := t.TempDir()
			s := startRestServer(t, RestServerOptions{Dir: t.TempDir(), Users: map[string]string{"web-1": "one", "web-2": "two"}})
			run := func(user, password string, args ...string) (string, error) {
				return restic(t.Context(), s, binary, user, password, cache, args...)
			}
			if _, err := run("web-1", "one", "init"); err != nil {
				t.Fatal(err)
			}
			source := t.TempDir()
			if err := os.WriteFile(filepath.Join(source, "file"), []byte("content"), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := run("web-1", "one", "backup", source); err != nil {
				t.Fatal(err)
			}
			if err := s.Kill(); err != nil {
				t.Fatal(err)
			}
			if err := s.Start(t.Context()); err != nil {
				t.Fatalf("starting on the same port again: %v", err)
			}
			if out, err := run("web-1", "one", "ls", "latest"); err != nil || !strings.Contains(out, filepath.Join(source, "file")) {
				t.Errorf("after a kill and a start: %v: %s", err, out)
			}
			if _, err := run("web-1", "wrong", "snapshots"); err == nil || !strings.Contains(err.Error(), "401") {
				t.Errorf("a wrong password: %v, expected 401", err)
			}
			if err := s.SetUser("web-1", "changed"); err != nil {
				t.Fatal(err)
			}
			Eventually(t, 30*time.Second, "the changed password is good", func(context.Context) error {
				_, err := run("web-1", "changed", "cat", "config")
				return err
			})
		})
	}
}

func TestAppendOnlyServerBesideOneThatMayDelete(t *testing.T) {
	dir, cache := t.TempDir(), t.TempDir()
	ordinary := startRestServer(t, RestServerOptions{Dir: dir, Users: map[string]string{"web-1": "one"}, AppendOnly: true})
	admin := startRestServer(t, RestServerOptions{
		Dir: dir, Name: "rest-server-admin", Data: ordinary.Data, CA: ordinary.CA, Users: map[string]string{"web-1": "admin"},
	})
	for _, args := range [][]string{{"init"}, {"backup", "--tag", "a", dir + "/pki"}, {"backup", "--tag", "a", dir + "/pki"}} {
		if _, err := restic(t.Context(), ordinary, Restic, "web-1", "one", cache, args...); err != nil {
			t.Fatal(err)
		}
	}
	forget := []string{"forget", "--tag", "a", "--keep-last", "1"}
	if _, err := restic(t.Context(), ordinary, Restic, "web-1", "one", cache, forget...); err == nil {
		t.Error("forget on the append-only server succeeded")
	}
	if _, err := restic(t.Context(), admin, Restic, "web-1", "one", cache, forget...); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("the ordinary password at the admin server: %v, expected 401", err)
	}
	if _, err := restic(t.Context(), admin, Restic, "web-1", "admin", cache, forget...); err != nil {
		t.Errorf("forget with admin credentials: %v", err)
	}
}

func TestPinIsTheHashOfTheServedKey(t *testing.T) {
	ca, err := EnsureCA(t.TempDir(), "test")
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := ca.Issue("server", LeafRequest{Hosts: []string{"gateway.example.com"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := leaf.Cert.VerifyHostname("gateway.example.com"); err != nil {
		t.Error(err)
	}
	pair, err := tls.LoadX509KeyPair(leaf.CertFile, leaf.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	if got := SPKIPin(pair.Leaf); got != leaf.Pin || !strings.HasPrefix(got, "sha256:") {
		t.Errorf("pin %q, expected %q", got, leaf.Pin)
	}
	again, err := EnsureCA(ca.Dir, "test")
	if err != nil {
		t.Fatal(err)
	}
	if !again.Cert.Equal(ca.Cert) {
		t.Error("the CA was made anew in a folder that had one")
	}
	if _, err := again.Issue("other", LeafRequest{}); err != nil {
		t.Errorf("a loaded CA does not issue: %v", err)
	}
}
