package restic_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/restic-manager/restic-manager/agent/restic"
	"github.com/restic-manager/restic-manager/test/env"
)

// certificateProxy lets nobody through to the server without a certificate of its CA.
func certificateProxy(t *testing.T, server *env.RestServer, version uint16) string {
	t.Helper()
	leaf, err := server.CA.Issue("proxy", env.LeafRequest{})
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(leaf.CertFile, leaf.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	target, err := url.Parse(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	upstream := httputil.NewSingleHostReverseProxy(target)
	upstream.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: server.CA.Pool()}}
	proxy := httptest.NewUnstartedServer(upstream)
	proxy.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: server.CA.Pool(), MaxVersion: version}
	proxy.Config.ErrorLog = log.New(io.Discard, "", 0)
	proxy.EnableHTTP2 = true
	proxy.StartTLS()
	t.Cleanup(proxy.Close)
	return "rest:" + proxy.URL + "/web-1"
}

func TestAClientCertificateWithRealRestic(t *testing.T) {
	t.Parallel()
	eachRestic(t, func(t *testing.T, r *restic.Runner) {
		server, err := env.StartRestServer(t.Context(), env.RestServerOptions{Dir: t.TempDir(), Users: map[string]string{"web-1": "server pass"}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = server.Stop() })
		leaf, err := server.CA.Issue("client", env.LeafRequest{})
		if err != nil {
			t.Fatal(err)
		}
		read := func(path string) []byte {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			return data
		}
		// openssl writes parameters before a key, which restic would refuse.
		parameters := []byte("-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n")
		repository := restic.Repository{URL: certificateProxy(t, server, tls.VersionTLS13), CABundle: read(server.CA.CertFile), ClientCertificate: slices.Concat(read(leaf.CertFile), parameters, read(leaf.KeyFile)),
			Environment: map[string]string{"RESTIC_PASSWORD": "correct horse", "RESTIC_REST_USERNAME": "web-1", "RESTIC_REST_PASSWORD": "server pass"}}
		// With TLS 1.3 a client without a certificate sees a refusal or a broken connection, as it happens.
		without := repository
		without.URL, without.ClientCertificate = certificateProxy(t, server, tls.VersionTLS12), nil
		if _, err := r.Probe(t.Context(), without, nil); !errors.Is(err, restic.ErrTLS) || !strings.Contains(err.Error(), "client certificate") {
			t.Error("without a certificate:", err)
		}
		if err := r.Init(t.Context(), repository, nil); err != nil {
			t.Fatal(err)
		}
		if state, err := r.Probe(t.Context(), repository, nil); state != restic.StateExists || err != nil {
			t.Error("probe:", state, err)
		}
		source := tree(t)
		backup, err := r.Backup(t.Context(), restic.BackupOptions{Repository: repository, Tag: "t", Paths: []string{source}}, nil)
		if err != nil {
			t.Fatalf("%+v, %v", backup, err)
		}
		// A command is the best spy: it runs inside a run. It sees no file with the key, and nobody's arguments hold it.
		script := filepath.Join(t.TempDir(), "spy")
		if err := os.WriteFile(script, fmt.Appendf(nil, "grep -rl 'PRIVATE KEY' %q %q\ntr '\\0' '\\n' <\"/proc/$(ps -o ppid= -p $(ps -o ppid= -p $PPID) | tr -d ' ')/cmdline\"\nls /proc/self/fd\n", r.TempDir, r.CacheDir), 0o600); err != nil {
			t.Fatal(err)
		}
		spy := commandBackup(repository, "")
		spy.Command = []string{"sh", script}
		dumped, err := r.Backup(t.Context(), spy, nil)
		if err != nil {
			t.Fatalf("%+v, %v", dumped, err)
		}
		var found bytes.Buffer
		if err := r.Dump(t.Context(), repository, dumped.SnapshotID, "/shop.dump", &found, nil); err != nil {
			t.Error("dump:", err)
		}
		if !strings.HasPrefix(found.String(), r.Binary.Path+"\n") || strings.Contains(found.String(), "PRIVATE KEY") || !strings.Contains(found.String(), "--tls-client-cert=/proc/self/fd/4\n") || !strings.HasSuffix(found.String(), "\n0\n1\n2\n3\n") { // 3 is the folder that ls reads
			t.Errorf("the spy found:\n%s", found.String())
		}
		if result, err := r.Restore(t.Context(), restic.RestoreOptions{Repository: repository, Snapshot: backup.SnapshotID, Target: t.TempDir()}, nil); err != nil {
			t.Errorf("restore: %+v, %v", result, err)
		}
		if result, err := r.Forget(t.Context(), restic.ForgetOptions{Repository: repository, Host: r.Hostname, Tag: "db", Keep: restic.Retention{KeepLast: 1}}, nil); err != nil {
			t.Errorf("forget: %+v, %v", result, err)
		}
		if result, err := r.Prune(t.Context(), restic.PruneOptions{Repository: repository}, nil); err != nil {
			t.Errorf("prune: %+v, %v", result, err)
		}
		if result, err := r.Check(t.Context(), restic.CheckOptions{Repository: repository, ReadDataSubset: "100%"}, nil); err != nil {
			t.Errorf("check: %+v, %v", result, err)
		}
		if _, err := r.Unlock(t.Context(), repository, nil); err != nil {
			t.Error("unlock:", err)
		}
		if _, err := r.Stats(t.Context(), repository, restic.Limits{}, nil); err != nil {
			t.Error("stats:", err)
		}
		if err := r.List(t.Context(), repository, backup.SnapshotID, func(restic.Node) error { return nil }, nil); err != nil {
			t.Error("list:", err)
		}
		if _, err := r.Snapshots(t.Context(), repository, restic.SnapshotFilter{}, nil); err != nil {
			t.Error("snapshots:", err)
		}
	})
}
