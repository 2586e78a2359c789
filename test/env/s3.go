package env

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// S3Region is the region of every S3Server.
const S3Region = "us-east-1"

// S3ServerOptions of an S3 server. It always serves TLS, and knows one user, who may do everything.
type S3ServerOptions struct {
	Dir    string // log, pid file and metadata of the objects; required
	Data   string // buckets, default Dir/data
	BinDir string // default: see Binary
	Name   string // default versitygw; tells two servers in one Dir apart

	CA *CA // issues the server's certificate; default: one of its own in Dir/pki

	AccessKey, SecretKey string // default: random

	Detach bool
	Log    func(format string, args ...any)
}

// S3Server is a running S3 server. Its Process can be stopped, killed and started again: the address and the user stay.
type S3Server struct {
	*Process
	CA   *CA
	Data string

	AccessKey, SecretKey string

	port int
}

// StartS3Server starts an S3 server and waits until it answers.
func StartS3Server(ctx context.Context, options S3ServerOptions) (*S3Server, error) {
	if options.Dir == "" {
		return nil, errors.New("env.StartS3Server: Dir is required")
	}
	dir, err := filepath.Abs(options.Dir)
	if err != nil {
		return nil, err
	}
	options.Dir = dir
	if options.Name == "" {
		options.Name = S3ServerBinary
	}
	if options.Data == "" {
		options.Data = filepath.Join(dir, "data")
	}
	for _, d := range []string{options.Data, options.metadata()} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, err
		}
	}
	if options.CA == nil {
		if options.CA, err = EnsureCA(filepath.Join(dir, "pki"), "restic-manager test S3 server"); err != nil {
			return nil, err
		}
	}
	for _, key := range []*string{&options.AccessKey, &options.SecretKey} {
		if *key == "" {
			*key = rand.Text()
		}
	}
	path, err := Binary(options.BinDir, S3ServerBinary)
	if err != nil {
		return nil, err
	}
	leaf, err := options.CA.ensure(options.Name, LeafRequest{})
	if err != nil {
		return nil, err
	}
	s := &S3Server{CA: options.CA, Data: options.Data, AccessKey: options.AccessKey, SecretKey: options.SecretKey}
	return s, onFreePorts(1, func(ports []int) error {
		s.port = ports[0]
		s.Process = NewProcess(s.command(options, path, leaf))
		return s.Process.Start(ctx)
	})
}

// metadata is beside the objects, so that the file system need not have extended attributes.
func (o S3ServerOptions) metadata() string { return filepath.Join(o.Dir, o.Name+".metadata") }

func (s *S3Server) command(options S3ServerOptions, path string, leaf *Leaf) Command {
	return Command{
		Name: options.Name,
		Path: path,
		Args: []string{
			"--port", loopback(s.port), "--region", S3Region, "--cert", leaf.CertFile, "--key", leaf.KeyFile, "--health", "/health",
			"posix", "--sidecar", options.metadata(), s.Data,
		},
		Env:     []string{"ROOT_ACCESS_KEY=" + s.AccessKey, "ROOT_SECRET_KEY=" + s.SecretKey},
		Dir:     options.Dir,
		LogFile: filepath.Join(options.Dir, "logs", options.Name+".log"),
		PIDFile: filepath.Join(options.Dir, "run", options.Name+".pid"),
		Detach:  options.Detach,
		Log:     options.Log,
		Grace:   3 * time.Second,
		Ready: func(ctx context.Context) error {
			return getHealth(ctx, s.URL()+"/health", func() (*tls.Config, error) { return &tls.Config{RootCAs: s.CA.Pool()}, nil })
		},
	}
}

// URL returns the server's address, without a slash at its end.
func (s *S3Server) URL() string { return "https://" + loopback(s.port) }

// CreateBucket makes a bucket. restic does so itself when it initialises a repository in one that is missing.
func (s *S3Server) CreateBucket(name string) error {
	return os.Mkdir(filepath.Join(s.Data, name), 0o755)
}

// RepositoryURL returns what restic takes for a repository, "s3:https://127.0.0.1:PORT/BUCKET" and further path elements; no key is in it.
func (s *S3Server) RepositoryURL(bucket string, path ...string) string {
	return "s3:" + s.URL() + "/" + strings.Join(append([]string{bucket}, path...), "/")
}

// Environment is what restic needs beside RESTIC_PASSWORD.
func (s *S3Server) Environment() map[string]string {
	return map[string]string{"AWS_ACCESS_KEY_ID": s.AccessKey, "AWS_SECRET_ACCESS_KEY": s.SecretKey, "AWS_DEFAULT_REGION": S3Region}
}
