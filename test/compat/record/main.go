package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/restic-manager/restic-manager/agent/config"
	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/controllers/signing"
	"github.com/restic-manager/restic-manager/test/compat"
	"github.com/restic-manager/restic-manager/test/env"
	"github.com/restic-manager/restic-manager/test/scenario"
	"github.com/restic-manager/restic-manager/test/stack"
)

// Names in the record.
const (
	namespace = compat.Namespace
	host      = compat.Host
)

var versionForm = regexp.MustCompile(`^v[0-9]+\.[0-9]+\.[0-9]+$`)

func main() {
	log.SetLogger(logr.Discard())
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if len(os.Args) != 2 || !versionForm.MatchString(os.Args[1]) {
		fmt.Fprintln(os.Stderr, "usage: go run ./test/compat/record VERSION, for instance v0.1.0")
		os.Exit(2)
	}
	if err := run(ctx, os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "record:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, version string) (err error) {
	dir, err := env.TempDir()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	binaries, err := stack.Build(ctx)
	if err != nil {
		return err
	}
	ca, err := env.EnsureCA(filepath.Join(dir, "pki"), "restic-manager playground") // the stack's
	if err != nil {
		return err
	}
	leaf, err := ca.Issue("relay", env.LeafRequest{})
	if err != nil {
		return err
	}
	certificate, err := tls.LoadX509KeyPair(leaf.CertFile, leaf.KeyFile)
	if err != nil {
		return err
	}
	certificate.Certificate = append(certificate.Certificate, ca.Cert.Raw)
	relay, err := newRelay(certificate)
	if err != nil {
		return err
	}
	defer relay.close()
	s, err := stack.Start(ctx, stack.Options{Dir: dir, BinDir: binaries, ControllerArgs: append(scenario.ControllerArgs(), "--gateway-url="+relay.url()),
		Log: func(format string, args ...any) { fmt.Printf(format+"\n", args...) }})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Stop()) }()
	relay.serve(s.Replicas[0].Address)
	keys, err := play(ctx, s)
	if err != nil {
		return err
	}
	root, err := env.Root()
	if err != nil {
		return err
	}
	return write(filepath.Join(root, "test/compat/wire", version), relay.recorded(), keys)
}

// play has one machine do once what machines do.
func play(ctx context.Context, s *stack.Stack) (keys compat.Keys, err error) {
	c, err := s.Client()
	if err != nil {
		return keys, err
	}
	data := filepath.Join(s.Dir, "data")
	if err := os.MkdirAll(data, 0o755); err != nil {
		return keys, err
	}
	if err := os.WriteFile(filepath.Join(data, "file"), []byte("content"), 0o600); err != nil {
		return keys, err
	}
	h, secret, err := scenario.NewHost(s, namespace, host)
	if err != nil {
		return keys, err
	}
	group := &v1alpha1.SourceGroup{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: compat.Group}}
	group.Spec.HostRef, group.Spec.Includes = &v1alpha1.LocalReference{Name: host}, []string{data}
	schedule := &v1alpha1.Schedule{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: compat.Schedule}}
	schedule.Spec.Cron, schedule.Spec.SourceGroups = "* * * * *", []string{compat.Group}
	job := &v1alpha1.HostJob{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: compat.Job}}
	job.Spec.HostRef.Name, job.Spec.Kind, job.Spec.Backup = host, v1alpha1.HostJobBackup, &v1alpha1.BackupJob{SourceGroup: compat.Group}
	for _, o := range []client.Object{&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, secret, h, group, schedule} {
		if err := c.Create(ctx, o); err != nil {
			return keys, err
		}
	}
	a, err := s.Enroll(ctx, stack.Machine{Namespace: namespace, Host: host})
	if err != nil {
		return keys, err
	}
	if err := a.Start(ctx); err != nil {
		return keys, err
	}
	defer func() { err = errors.Join(err, a.Stop()) }()
	if err := env.Poll(ctx, 2*time.Minute, "a scheduled backup", func(ctx context.Context) error {
		if err := c.Get(ctx, client.ObjectKeyFromObject(h), h); err != nil {
			return err
		}
		if len(h.Status.SourceGroups) == 0 || h.Status.SourceGroups[0].LastSuccessTime == nil {
			return errors.New("none yet")
		}
		return nil
	}); err != nil {
		return keys, err
	}
	if err := c.Create(ctx, job); err != nil {
		return keys, err
	}
	if err := env.Poll(ctx, time.Minute, "the HostJob", func(ctx context.Context) error {
		if err := c.Get(ctx, client.ObjectKeyFromObject(job), job); err != nil {
			return err
		}
		if job.Status.Phase != v1alpha1.JobSucceeded {
			return fmt.Errorf("phase %s", job.Status.Phase)
		}
		return nil
	}); err != nil {
		return keys, err
	}
	ask := exec.CommandContext(ctx, filepath.Join(s.BinDir, "kubectl-restic"), "-n", namespace, "snapshots", host)
	ask.Env = []string{"KUBECONFIG=" + s.CP.AdminKubeconfig, "HOME=" + s.Dir, "PATH=/usr/bin:/bin"}
	if out, err := ask.CombinedOutput(); err != nil {
		return keys, fmt.Errorf("asking for snapshots: %w: %s", err, out)
	}
	return keysOf(ctx, c, a.Config, h)
}

func keysOf(ctx context.Context, c client.Client, path string, h *v1alpha1.Host) (compat.Keys, error) {
	machine, err := config.Load(path)
	if err != nil {
		return compat.Keys{}, err
	}
	secret := &corev1.Secret{}
	if err := c.Get(ctx, client.ObjectKey{Namespace: stack.Namespace, Name: signing.SecretName}, secret); err != nil {
		return compat.Keys{}, err
	}
	return compat.Keys{
		HostUID: string(h.UID), SerialFloor: machine.SerialFloor, SigningSeed: machine.Identity.SigningKey, SealingKey: machine.Identity.SealingKey,
		Identity: *h.Spec.Identity, Controllers: string(secret.Data["signing-1.pem"]),
	}, nil
}

func write(folder string, lines []compat.Line, keys compat.Keys) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	transcript, err := os.Create(filepath.Join(folder, "transcript.jsonl"))
	if err != nil {
		return err
	}
	encoder := json.NewEncoder(transcript)
	encoder.SetEscapeHTML(false)
	for _, line := range lines {
		if err := encoder.Encode(line); err != nil {
			return errors.Join(err, transcript.Close())
		}
	}
	if err := transcript.Close(); err != nil {
		return err
	}
	text, err := json.MarshalIndent(keys, "", "  ")
	if err != nil {
		return err
	}
	fmt.Printf("%d messages are in %s\n", len(lines), folder)
	return os.WriteFile(filepath.Join(folder, "keys.json"), append(text, '\n'), 0o644)
}
