package agentgateway

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/restic-manager/restic-manager/test/env"
	clocktesting "k8s.io/utils/clock/testing"
)

func TestACertificateIsServedWholeAndLoadedAgain(t *testing.T) {
	dir := t.TempDir()
	ca, err := env.EnsureCA(dir, "test CA")
	if err != nil {
		t.Fatal(err)
	}
	first, err := ca.Issue("gateway", env.LeafRequest{})
	if err != nil {
		t.Fatal(err)
	}
	clock := clocktesting.NewFakeClock(time.Now())
	c := &Certificate{CertFile: first.CertFile, KeyFile: first.KeyFile, CAFile: ca.CertFile, Clock: clock, Logger: slog.New(slog.DiscardHandler)}
	if err := c.Load(); err != nil {
		t.Fatal(err)
	}
	serves := func(leaf *env.Leaf) {
		t.Helper()
		got, err := c.Get(nil)
		if err != nil {
			t.Fatal(err)
		}
		if !got.Leaf.Equal(leaf.Cert) {
			t.Errorf("serves serial %v, want %v", got.Leaf.SerialNumber, leaf.Cert.SerialNumber)
		}
		if len(got.Certificate) != 2 || string(got.Certificate[1]) != string(ca.Cert.Raw) {
			t.Errorf("the chain has %d certificates and not its CA at the end", len(got.Certificate))
		}
	}
	serves(first)

	second, err := ca.Issue("gateway", env.LeafRequest{})
	if err != nil {
		t.Fatal(err)
	}
	touch(t, second.CertFile, clock.Now().Add(time.Hour))
	serves(first) // looked at a moment ago
	clock.Step(recheck)
	serves(second)

	if err := os.WriteFile(second.KeyFile, []byte("half written"), 0o600); err != nil {
		t.Fatal(err)
	}
	clock.Step(recheck)
	serves(second)

	c = &Certificate{CertFile: filepath.Join(dir, "none.crt"), KeyFile: first.KeyFile, Clock: clock, Logger: slog.New(slog.DiscardHandler)}
	if err := c.Load(); err == nil {
		t.Error("a certificate that is missing was loaded")
	}
	if _, err := c.Get(nil); err == nil {
		t.Error("a certificate that is missing is served")
	}
}

func TestACertificateThatIsNotThereYetIsWaitedFor(t *testing.T) {
	dir := t.TempDir()
	ca, err := env.EnsureCA(filepath.Join(dir, "pki"), "test CA")
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := ca.Issue("gateway", env.LeafRequest{})
	if err != nil {
		t.Fatal(err)
	}
	clock := clocktesting.NewFakeClock(time.Now())
	var log bytes.Buffer
	c := &Certificate{CertFile: filepath.Join(dir, "tls.crt"), KeyFile: filepath.Join(dir, "tls.key"), Clock: clock, Logger: slog.New(slog.NewTextHandler(&log, nil))}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Wait(ctx) }()
	for range 3 {
		env.Eventually(t, time.Minute, "it waits", func(context.Context) error {
			if !clock.HasWaiters() {
				return errors.New("not yet")
			}
			return nil
		})
		clock.Step(recheck)
	}
	for from, to := range map[string]string{leaf.KeyFile: c.KeyFile, leaf.CertFile: c.CertFile} {
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	env.Eventually(t, time.Minute, "it goes on", func(context.Context) error {
		clock.Step(recheck)
		select {
		case err := <-ended:
			ended <- err
			return nil
		default:
			return errors.New("not yet")
		}
	})
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if n := strings.Count(log.String(), "waiting for the certificate"); n != 1 || !strings.Contains(log.String(), "--gateway-tls-secret") {
		t.Errorf("it was told %d times: %s", n, log.String())
	}

	if err := os.WriteFile(c.KeyFile, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(ctx); err == nil || !strings.Contains(err.Error(), c.KeyFile) {
		t.Errorf("a wrong file: %v", err)
	}
	cancel()
	c.KeyFile = filepath.Join(dir, "none")
	if err := c.Wait(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("at the end: %v", err)
	}
}

// touch makes a change of a file visible whatever the resolution of its time.
func touch(t *testing.T, file string, at time.Time) {
	t.Helper()
	if err := os.Chtimes(file, at, at); err != nil {
		t.Fatal(err)
	}
}
