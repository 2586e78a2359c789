package restic_test

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/restic-manager/restic-manager/agent/restic"
	"github.com/restic-manager/restic-manager/api/resticenv"
	"github.com/restic-manager/restic-manager/test/env"
)

func startS3(t *testing.T) (*env.S3Server, []byte) {
	t.Helper()
	server, err := env.StartS3Server(t.Context(), env.S3ServerOptions{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Kill(); err != nil {
			t.Error(err)
		}
	})
	ca, err := os.ReadFile(server.CA.CertFile)
	if err != nil {
		t.Fatal(err)
	}
	return server, ca
}

func onS3(server *env.S3Server, ca []byte, bucket string) restic.Repository {
	repository := restic.Repository{URL: server.RepositoryURL(bucket, "shop", "web-1"), CABundle: ca, Environment: server.Environment()}
	repository.Environment["RESTIC_PASSWORD"] = "correct horse"
	return repository
}

// bucketOf is a bucket's name for a version of restic.
func bucketOf(r *restic.Runner) string { return "v" + strings.ReplaceAll(r.Binary.Version, ".", "-") }

func TestTheWholeLifeOfARepositoryOnEachBackend(t *testing.T) {
	t.Parallel()
	server, ca := startS3(t)
	users := map[string]string{"v0-18-1": "one", "v0-19-1": "two"}
	rest, err := env.StartRestServer(t.Context(), env.RestServerOptions{Dir: t.TempDir(), Users: users})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := rest.Kill(); err != nil {
			t.Error(err)
		}
	})
	restCA, err := os.ReadFile(rest.CA.CertFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, backend := range []struct {
		name       string
		repository func(t *testing.T, r *restic.Runner) restic.Repository
	}{
		{"a local path", func(t *testing.T, r *restic.Runner) restic.Repository {
			repository := localRepository(t)
			if strings.HasPrefix(r.Binary.Version, "0.19.") { // both ways to write it, each once
				repository.URL = "local:" + repository.URL
			}
			return repository
		}},
		{"an S3 bucket", func(_ *testing.T, r *restic.Runner) restic.Repository { return onS3(server, ca, bucketOf(r)) }},
		{"a rest-server", func(_ *testing.T, r *restic.Runner) restic.Repository {
			user := bucketOf(r)
			return restic.Repository{URL: rest.RepositoryURL(user), CABundle: restCA, Environment: map[string]string{"RESTIC_PASSWORD": "correct horse",
				"RESTIC_REST_USERNAME": user, "RESTIC_REST_PASSWORD": users[user]}}
		}},
	} {
		t.Run(backend.name, func(t *testing.T) {
			t.Parallel()
			eachRestic(t, func(t *testing.T, r *restic.Runner) { live(t, r, backend.repository(t, r)) })
		})
	}
}

// live takes a repository from nothing to a restore after its upkeep.
func live(t *testing.T, r *restic.Runner, repository restic.Repository) {
	ctx := t.Context()
	if state, err := r.Probe(ctx, repository, nil); err != nil || state != restic.StateMissing {
		t.Fatalf("before init: %s, %v", state, err)
	}
	for range 2 {
		if err := r.Init(ctx, repository, nil); err != nil {
			t.Fatal("init, and init again:", err)
		}
	}
	if state, err := r.Probe(ctx, repository, nil); err != nil || state != restic.StateExists {
		t.Fatalf("after init: %s, %v", state, err)
	}
	wrong := repository
	wrong.Environment = maps.Clone(repository.Environment)
	wrong.Environment["RESTIC_PASSWORD"] = "wrong"
	if _, err := r.Probe(ctx, wrong, nil); !errors.Is(err, restic.ErrWrongPassword) {
		t.Error("a wrong password:", err)
	}

	source := tree(t)
	backup := restic.BackupOptions{Repository: repository, Tag: "files", Paths: []string{source}}
	old, err := r.Backup(ctx, backup, nil)
	if err != nil {
		t.Fatal(err)
	}
	// Other content: what the first snapshot alone needs is garbage once it is forgotten.
	write(t, filepath.Join(source, "sub", "b.bin"), 300_000)
	newest, err := r.Backup(ctx, backup, nil)
	if err != nil || newest.FilesChanged != 1 || newest.FilesUnmodified != 3 {
		t.Fatalf("the second backup has not the first as its parent: %+v, %v", newest, err)
	}
	filter := restic.SnapshotFilter{Host: r.Hostname, Tag: "files"}
	ids := func() (ids []string) {
		t.Helper()
		snapshots, err := r.Snapshots(ctx, repository, filter, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range snapshots {
			ids = append(ids, s.ID)
		}
		return ids
	}
	if got := ids(); !slices.Contains(got, old.SnapshotID) || !slices.Contains(got, newest.SnapshotID) || len(got) != 2 {
		t.Errorf("snapshots are %v", got)
	}
	forget, err := r.Forget(ctx, restic.ForgetOptions{Repository: repository, Host: r.Hostname, Tag: "files", Keep: restic.Retention{KeepLast: 1}}, nil)
	if err != nil || forget.Removed != 1 || forget.Kept != 1 || forget.Refused != 0 {
		t.Errorf("forget: %+v, %v", forget, err)
	}
	if diff := cmp.Diff([]string{newest.SnapshotID}, ids()); diff != "" {
		t.Error("snapshots after the forget:", diff)
	}
	prune, err := r.Prune(ctx, restic.PruneOptions{Repository: repository, MaxUnused: "0"}, nil)
	if err != nil || prune.BytesFreed < 290_000 {
		t.Errorf("prune: %+v, %v", prune, err)
	}
	if check, err := r.Check(ctx, restic.CheckOptions{Repository: repository, ReadDataSubset: "100%"}, nil); err != nil || check.Errors != 0 {
		t.Errorf("check: %+v, %v", check, err)
	}
	if removed, err := r.Unlock(ctx, repository, nil); err != nil || removed != 0 {
		t.Errorf("unlock removed %d locks: %v", removed, err)
	}
	if bytes, err := r.Stats(ctx, repository, restic.Limits{}, nil); err != nil || bytes < 300_000 || bytes > 400_000 {
		t.Errorf("stats: %d bytes, %v", bytes, err)
	}
	target := filepath.Join(t.TempDir(), "restored")
	if result, err := r.Restore(ctx, restic.RestoreOptions{Repository: repository, Snapshot: restic.Latest, Filter: filter, Target: target, Verify: true}, nil); err != nil {
		t.Fatalf("%+v, %v", result, err)
	}
	if diff := cmp.Diff(contents(t, source), contents(t, filepath.Join(target, source))); diff != "" {
		t.Error("the restored tree differs:", diff)
	}
}

func TestS3RefusalsWithRealRestic(t *testing.T) {
	t.Parallel()
	server, ca := startS3(t)
	eachRestic(t, func(t *testing.T, shared *restic.Runner) {
		good := onS3(server, ca, bucketOf(shared))
		if err := shared.Init(t.Context(), good, nil); err != nil {
			t.Fatal(err)
		}
		with := func(change func(*restic.Repository)) restic.Repository {
			repository := good
			repository.Environment = maps.Clone(good.Environment)
			change(&repository)
			return repository
		}
		for _, c := range []struct {
			name       string
			repository restic.Repository
			want       error
			reason     string
		}{
			{"a wrong secret key", with(func(r *restic.Repository) { r.Environment["AWS_SECRET_ACCESS_KEY"] = "WRONGSECRETKEY" }), restic.ErrUnauthorized, "Access Denied"},
			{"without the CA bundle", with(func(r *restic.Repository) { r.CABundle = nil }), restic.ErrTLS, "x509: "},
			{"http to a server that speaks TLS", with(func(r *restic.Repository) { r.URL = strings.Replace(r.URL, "https://", "http://", 1) }), restic.ErrUnreachable, ""},
			{"a port where nobody listens", with(func(r *restic.Repository) {
				r.URL = "s3:https://" + strings.TrimPrefix(strings.TrimSuffix(closedPort(t), "/x"), "rest:http://") + "/bucket/web-1"
			}), restic.ErrUnreachable, "connection refused"},
		} {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				r := *shared
				if c.want == restic.ErrUnreachable {
					// The S3 library tries for four seconds by itself before restic says a word. An untrusted certificate is given up by itself.
					r.UnreachableAfter = 12 * time.Second
				}
				_, err := r.Probe(t.Context(), c.repository, nil)
				if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.reason) {
					t.Fatalf("probe: %v, want %v", err, c.want)
				}
				if strings.Contains(err.Error(), "WRONGSECRETKEY") || strings.Contains(err.Error(), server.SecretKey) {
					t.Error("the error holds a key")
				}
			})
		}
		// There are servers, this one among them, that answer an unknown user like one who asks for what is not there.
		t.Run("an unknown access key", func(t *testing.T) {
			t.Parallel()
			unknown := with(func(r *restic.Repository) { r.Environment["AWS_ACCESS_KEY_ID"] = "UNKNOWNACCESSKEY" })
			if state, err := shared.Probe(t.Context(), unknown, nil); err == nil && state == restic.StateExists {
				t.Error("it opens the repository")
			}
			if err := shared.Init(t.Context(), unknown, nil); err == nil {
				t.Error("it makes a repository")
			}
		})
	})
}

// hostile variables run programs, read files or send elsewhere, as root. None may reach restic on any backend.
var hostile = []string{
	"RESTIC_PASSWORD_COMMAND", "RESTIC_PASSWORD_FILE", "RESTIC_FROM_PASSWORD_COMMAND", "RESTIC_REPOSITORY", "RESTIC_REPOSITORY_FILE", "RESTIC_HOST", "RESTIC_CACHE_DIR",
	"RESTIC_CACERT", "RESTIC_TLS_CLIENT_CERT", "RESTIC_FEATURES", "PATH", "HOME", "TMPDIR", "LD_PRELOAD", "LD_LIBRARY_PATH", "GODEBUG", "SSL_CERT_FILE", "SSL_CERT_DIR",
	"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "SSH_AUTH_SOCK", "SSH_ASKPASS", "AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE", "AWS_PROFILE",
	"AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AZURE_FORCE_CLI_CREDENTIAL", "AZURE_CONFIG_DIR", "GOOGLE_APPLICATION_CREDENTIALS",
	"MINIO_ACCESS_KEY", "restic_password", "RESTIC_PASSWORD ", "", "A=B",
}

func TestNoBackendTakesAHostileVariable(t *testing.T) {
	for _, backend := range resticenv.Backends() {
		environment := map[string]string{"RESTIC_PASSWORD": "correct horse"}
		if err := restic.CheckEnvironment(backend, environment, restic.Consent{}); err != nil {
			t.Errorf("%s with its password alone: %v", backend, err)
		}
		for _, name := range hostile {
			environment := maps.Clone(environment)
			environment[name] = "the value"
			for _, consent := range []restic.Consent{{}, {Rclone: true}} {
				err := restic.CheckEnvironment(backend, environment, consent)
				if err == nil || !strings.Contains(err.Error(), name) || strings.Contains(err.Error(), "the value") {
					t.Errorf("%s with %q: %v", backend, name, err)
				}
			}
		}
		environment["RCLONE_CONFIG_X_TYPE"] = "the value"
		if err := restic.CheckEnvironment(backend, environment, restic.Consent{}); err == nil {
			t.Errorf("%s takes rclone's configuration without the consent of the machine", backend)
		}
		if err := restic.CheckEnvironment(backend, environment, restic.Consent{Rclone: true}); (err == nil) != (backend == resticenv.Rclone) {
			t.Errorf("%s with rclone's configuration and consent: %v", backend, err)
		}
	}
}

func TestEachBackendTakesItsOwnVariablesAlone(t *testing.T) {
	own := map[string][]string{
		"rest": {"RESTIC_REST_USERNAME", "RESTIC_REST_PASSWORD"}, "s3": {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"},
		"b2": {"B2_ACCOUNT_ID", "B2_ACCOUNT_KEY"}, "azure": {"AZURE_ACCOUNT_NAME", "AZURE_ACCOUNT_KEY"}, "gs": {"GOOGLE_PROJECT_ID", "GOOGLE_ACCESS_TOKEN"},
		"swift": {"OS_AUTH_URL", "OS_USERNAME", "OS_PASSWORD"}, "local": nil, "sftp": nil, "rclone": nil,
	}
	if diff := cmp.Diff(resticenv.Backends(), slices.Sorted(maps.Keys(own))); diff != "" {
		t.Fatalf("backends that nobody thought of here: %s", diff)
	}
	for backend := range own {
		for owner, names := range own {
			environment := map[string]string{"RESTIC_PASSWORD": "correct horse"}
			for _, name := range names {
				environment[name] = "value"
			}
			err := restic.CheckEnvironment(backend, environment, restic.Consent{})
			if wrong := len(names) > 0 && owner != backend; wrong != (err != nil) {
				t.Errorf("%s with what is %s's: %v", backend, owner, err)
			}
		}
	}
}

func TestARefusedVariableNeverReachesRestic(t *testing.T) {
	marker := filepath.Join(t.TempDir(), "ran")
	// The agent's own environment is not restic's either.
	t.Setenv("RESTIC_PASSWORD_COMMAND", "touch "+marker)
	t.Setenv("RESTIC_PASSWORD_FILE", "/etc/hostname")
	t.Setenv("RESTIC_REPOSITORY_FILE", "/etc/hostname")
	eachRestic(t, func(t *testing.T, r *restic.Runner) {
		repository := initialised(t, r)
		for _, name := range []string{"RESTIC_PASSWORD_COMMAND", "PATH", "AWS_SHARED_CREDENTIALS_FILE"} {
			refused := repository
			refused.Environment = maps.Clone(repository.Environment)
			refused.Environment[name] = "touch " + marker
			if _, err := r.Probe(t.Context(), refused, nil); !errors.Is(err, restic.ErrInvalid) || !strings.Contains(err.Error(), name) {
				t.Errorf("a repository with %s: %v", name, err)
			}
		}
		if state, err := r.Probe(t.Context(), repository, nil); err != nil || state != restic.StateExists {
			t.Errorf("probe: %s, %v", state, err)
		}
		if _, err := os.Lstat(marker); !errors.Is(err, fs.ErrNotExist) {
			t.Error("a command of the environment ran:", err)
		}
	})
}
