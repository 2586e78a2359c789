package env

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func startS3Server(t *testing.T, options S3ServerOptions) *S3Server {
	t.Helper()
	options.Log = t.Logf
	s, err := StartS3Server(t.Context(), options)
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

// resticOnS3 runs restic against a repository in a bucket and returns its output.
func resticOnS3(ctx context.Context, s *S3Server, cache, secret, bucket string, args ...string) (string, error) {
	path, err := Binary("", Restic)
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, path, append([]string{"--cacert", s.CA.CertFile, "--cache-dir", cache}, args...)...)
	cmd.Env = []string{"RESTIC_REPOSITORY=" + s.RepositoryURL(bucket, "web-1"), "RESTIC_PASSWORD=repository-password", "HOME=" + cache, "TMPDIR=" + cache}
	keys := s.Environment()
	keys["AWS_SECRET_ACCESS_KEY"] = secret
	for name, value := range keys {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("restic %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return string(out), nil
}

func TestResticUsesAnS3BucketThroughTLS(t *testing.T) {
	cache := t.TempDir()
	s := startS3Server(t, S3ServerOptions{Dir: t.TempDir()})
	if err := s.CreateBucket("there-already"); err != nil {
		t.Fatal(err)
	}
	source := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(source, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, bucket := range []string{"there-already", "made-by-restic"} {
		for _, args := range [][]string{{"init"}, {"backup", source}} {
			if _, err := resticOnS3(t.Context(), s, cache, s.SecretKey, bucket, args...); err != nil {
				t.Fatalf("bucket %s: %v", bucket, err)
			}
		}
	}
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatalf("starting on the same port again: %v", err)
	}
	if out, err := resticOnS3(t.Context(), s, cache, s.SecretKey, "made-by-restic", "ls", "latest"); err != nil || !strings.Contains(out, source) {
		t.Errorf("after a kill and a start: %v: %s", err, out)
	}
	if out, err := resticOnS3(t.Context(), s, cache, "wrong", "made-by-restic", "snapshots"); err == nil {
		t.Errorf("a wrong secret opens the repository: %s", out)
	}
}

func TestTheS3ServerListensOnLoopbackAndAsksForAKey(t *testing.T) {
	s := startS3Server(t, S3ServerOptions{Dir: t.TempDir()})
	if !strings.HasPrefix(s.URL(), "https://127.0.0.1:") {
		t.Errorf("the server is at %s", s.URL())
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.CA.Pool()}, DisableKeepAlives: true}
	response, err := (&http.Client{Transport: transport}).Get(s.URL() + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusForbidden {
		t.Errorf("a request without a key: %s", response.Status)
	}
	log, err := os.ReadFile(s.LogFile)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(log), s.SecretKey) {
		t.Error("the log holds the secret key")
	}
}
