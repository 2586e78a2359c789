package env

import (
	"context"
	"crypto/sha1"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// RestServerOptions of a rest-server. It always serves TLS, asks for a password, and gives each user the repositories
// below /USER/ only.
type RestServerOptions struct {
	Dir    string // htpasswd file, log and pid file; required
	Data   string // repositories, default Dir/data. Two servers on one folder: one append-only, one for who may delete
	BinDir string // default: see Binary
	Name   string // default rest-server; tells two servers in one Dir apart

	CA    *CA               // issues the server's certificate; default: one of its own in Dir/pki
	Users map[string]string // name to password

	AppendOnly bool

	Detach bool
	Log    func(format string, args ...any)
}

// RestServer is a running rest-server. Its Process can be stopped, killed and started again: the address stays.
type RestServer struct {
	*Process
	CA   *CA
	Data string

	port     int
	htpasswd string
	mu       sync.Mutex
	users    map[string]string
}

// StartRestServer starts a rest-server and waits until it answers.
func StartRestServer(ctx context.Context, options RestServerOptions) (*RestServer, error) {
	if options.Dir == "" {
		return nil, errors.New("env.StartRestServer: Dir is required")
	}
	dir, err := filepath.Abs(options.Dir)
	if err != nil {
		return nil, err
	}
	options.Dir = dir
	if options.Name == "" {
		options.Name = RestServerBinary
	}
	if options.Data == "" {
		options.Data = filepath.Join(dir, "data")
	}
	if err := os.MkdirAll(options.Data, 0o700); err != nil {
		return nil, err
	}
	if options.CA == nil {
		if options.CA, err = EnsureCA(filepath.Join(dir, "pki"), "restic-manager test rest-server"); err != nil {
			return nil, err
		}
	}
	path, err := Binary(options.BinDir, RestServerBinary)
	if err != nil {
		return nil, err
	}
	leaf, err := options.CA.ensure(options.Name, LeafRequest{})
	if err != nil {
		return nil, err
	}
	s := &RestServer{
		CA:       options.CA,
		Data:     options.Data,
		htpasswd: filepath.Join(dir, options.Name+".htpasswd"),
		users:    maps.Clone(options.Users),
	}
	if err := s.writeUsers(); err != nil {
		return nil, err
	}
	return s, onFreePorts(1, func(ports []int) error {
		s.port = ports[0]
		s.Process = NewProcess(s.command(options, path, leaf))
		return s.Process.Start(ctx)
	})
}

func (s *RestServer) command(options RestServerOptions, path string, leaf *Leaf) Command {
	args := []string{
		"--path", s.Data, "--listen", loopback(s.port), "--private-repos", "--htpasswd-file", s.htpasswd,
		"--tls", "--tls-cert", leaf.CertFile, "--tls-key", leaf.KeyFile, "--tls-min-ver", "1.3",
		"--log", "-",
	}
	if options.AppendOnly {
		args = append(args, "--append-only")
	}
	return Command{
		Name:    options.Name,
		Path:    path,
		Args:    args,
		Dir:     options.Dir,
		LogFile: filepath.Join(options.Dir, "logs", options.Name+".log"),
		PIDFile: filepath.Join(options.Dir, "run", options.Name+".pid"),
		Detach:  options.Detach,
		Log:     options.Log,
		Grace:   3 * time.Second,
		Ready:   s.ready,
	}
}

// ready asks without a password: rest-server answers 401 when it serves.
func (s *RestServer) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL(), nil)
	if err != nil {
		return err
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.CA.Pool()}, DisableKeepAlives: true}
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return err
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusUnauthorized {
		return fmt.Errorf("GET %s without a password: %s, expected 401", s.URL(), response.Status)
	}
	return nil
}

// URL returns the server's address with a slash at its end.
func (s *RestServer) URL() string { return "https://" + loopback(s.port) + "/" }

// RepositoryURL returns what restic takes for a user's repository, "rest:https://127.0.0.1:PORT/USER" and further path
// elements; no password is in it.
func (s *RestServer) RepositoryURL(user string, path ...string) string {
	return "rest:" + s.URL() + strings.Join(append([]string{user}, path...), "/")
}

// Locks are the files of the locks in a repository's folder. One that is still being uploaded has a longer name, and is gone with its writer.
func Locks(repository string) ([]string, error) {
	return filepath.Glob(filepath.Join(repository, "locks", strings.Repeat("[0-9a-f]", 64)))
}

// SetUser adds a user or changes a password. An empty password removes the user. The running server takes it over within
// milliseconds, not before this returns.
func (s *RestServer) SetUser(name, password string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.users == nil {
		s.users = map[string]string{}
	}
	if password == "" {
		delete(s.users, name)
	} else {
		s.users[name] = password
	}
	if err := s.writeUsers(); err != nil {
		return err
	}
	if s.PID() == 0 {
		return nil
	}
	return s.Signal(syscall.SIGHUP)
}

// writeUsers uses the SHA-1 form of htpasswd: rest-server knows it and bcrypt, and this one needs no further module. A
// server that faces anybody should have bcrypt entries.
func (s *RestServer) writeUsers() error {
	var lines strings.Builder
	for _, name := range slices.Sorted(maps.Keys(s.users)) {
		sum := sha1.Sum([]byte(s.users[name]))
		fmt.Fprintf(&lines, "%s:{SHA}%s\n", name, base64.StdEncoding.EncodeToString(sum[:]))
	}
	// By renaming: the server may read the file at any time, and whoever it does not find there is refused.
	fresh := s.htpasswd + ".new"
	if err := os.WriteFile(fresh, []byte(lines.String()), 0o600); err != nil {
		return err
	}
	return os.Rename(fresh, s.htpasswd)
}
