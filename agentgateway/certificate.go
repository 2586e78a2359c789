package agentgateway

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"

	"k8s.io/utils/clock"
)

// recheck is how often the files of a certificate are looked at, when somebody connects.
const recheck = time.Second

// retell is how often it is told that they are waited for.
const retell = time.Minute

// Certificate serves a certificate from files and loads them again when they change. While a new pair is incomplete or wrong, the one
// before is served.
//
// The whole chain that the files hold is served, with its CA, so that agents can pin the CA. CAFile adds the CA where CertFile does not end with
// it, as in the Secrets of cert-manager; it may be empty.
type Certificate struct {
	CertFile string
	KeyFile  string
	CAFile   string
	Clock    clock.WithTicker
	Logger   *slog.Logger

	mu      sync.Mutex
	loaded  *tls.Certificate
	stamp   string
	checked time.Time
}

// Load reads the files; its error says which is wrong.
func (c *Certificate) Load() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	stamp, err := c.stampLocked()
	if err != nil {
		return fmt.Errorf("TLS certificate: %w", err)
	}
	return c.loadLocked(stamp)
}

// Wait loads the files, and waits for those that are not there yet: the controllers make them on a fresh installation. A file that is there and wrong is an
// error at once.
func (c *Certificate) Wait(ctx context.Context) error {
	var told time.Time
	for {
		err := c.Load()
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if now := c.Clock.Now(); now.Sub(told) >= retell {
			told = now
			c.Logger.Warn("waiting for the certificate: it comes with the Secret that the controllers make (--gateway-tls-secret) or that you make; agents cannot connect before",
				"file", c.CertFile, "problem", err)
		}
		timer := c.Clock.NewTimer(recheck)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C():
		}
	}
}

func (c *Certificate) files() []string {
	files := []string{c.CertFile, c.KeyFile}
	if c.CAFile != "" {
		files = append(files, c.CAFile)
	}
	return files
}

func (c *Certificate) stampLocked() (string, error) {
	stamp := ""
	for _, file := range c.files() {
		info, err := os.Stat(file)
		if err != nil {
			return "", err
		}
		stamp += fmt.Sprint(info.ModTime().UnixNano(), info.Size(), " ")
	}
	return stamp, nil
}

func (c *Certificate) loadLocked(stamp string) error {
	pair, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
	if err != nil {
		return fmt.Errorf("TLS certificate %s with key %s: %w", c.CertFile, c.KeyFile, err)
	}
	if c.CAFile != "" {
		raw, err := os.ReadFile(c.CAFile)
		if err != nil {
			return fmt.Errorf("TLS CA: %w", err)
		}
		for block, rest := pem.Decode(raw); block != nil; block, rest = pem.Decode(rest) {
			if block.Type == "CERTIFICATE" {
				pair.Certificate = append(pair.Certificate, block.Bytes)
			}
		}
	}
	c.loaded, c.stamp, c.checked = &pair, stamp, c.Clock.Now()
	return nil
}

// Get is for tls.Config.GetCertificate.
func (c *Certificate) Get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.Clock.Now(); c.loaded == nil || now.Sub(c.checked) >= recheck {
		c.checked = now
		c.refreshLocked()
	}
	if c.loaded == nil {
		return nil, fmt.Errorf("no certificate could be loaded from %s", c.CertFile)
	}
	return c.loaded, nil
}

func (c *Certificate) refreshLocked() {
	stamp, err := c.stampLocked()
	if err == nil && stamp == c.stamp {
		return
	}
	if err == nil {
		err = c.loadLocked(stamp)
	}
	if err != nil {
		c.Logger.Error("the certificate was not loaded again; the one before is served", "error", err)
		return
	}
	c.Logger.Info("certificate loaded again", "file", c.CertFile)
}
