package main

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"os"
	"time"

	"github.com/restic-manager/restic-manager/api/tlspin"
)

const (
	minTokenTTL        = time.Minute
	maxTokenTTL        = 7 * 24 * time.Hour
	maxOverdueMinGrace = 7 * 24 * time.Hour
	// With a shorter one a machine that is merely restarted would not be told.
	minTombstoneTTL = time.Minute
	maxTombstoneTTL = 10 * 365 * 24 * time.Hour
	maxKeyOverlap   = 10 * 365 * 24 * time.Hour
	// As many as a set may hold, less those of the authorities that are made here.
	maxPins = 12
)

// check tells what is wrong with the flags, each by its name.
func (o *options) check() error {
	if o.gatewayURL == "" {
		return errors.New("--gateway-url is required: where machines find the gateway, for instance https://backup-gateway.example.com")
	}
	u, err := url.Parse(o.gatewayURL)
	switch {
	case err != nil:
		return fmt.Errorf("--gateway-url: %w", err)
	case u.Scheme != "https" || u.Host == "":
		return fmt.Errorf("--gateway-url %q must be https://host[:port]: agents speak TLS only", o.gatewayURL)
	case u.User != nil || (u.Path != "" && u.Path != "/") || u.RawQuery != "" || u.Fragment != "":
		return errors.New("--gateway-url must be https://host[:port], without user, path or query")
	}
	if o.tokenTTL < minTokenTTL || o.tokenTTL > maxTokenTTL {
		return fmt.Errorf("--token-ttl is %s, it must be between %s and %s", o.tokenTTL, minTokenTTL, maxTokenTTL)
	}
	if o.metricsHosts < 0 {
		return fmt.Errorf("--metrics-host-limit is %d, it must not be negative", o.metricsHosts)
	}
	if o.overdueMinGrace <= 0 || o.overdueMinGrace > maxOverdueMinGrace {
		return fmt.Errorf("--overdue-min-grace is %s, it must be above 0 and at most %s", o.overdueMinGrace, maxOverdueMinGrace)
	}
	if o.tombstoneTTL < minTombstoneTTL || o.tombstoneTTL > maxTombstoneTTL {
		return fmt.Errorf("--tombstone-ttl is %s, it must be between %s and %s", o.tombstoneTTL, minTombstoneTTL, maxTombstoneTTL)
	}
	if o.keyOverlap < o.tokenTTL || o.keyOverlap > maxKeyOverlap {
		return fmt.Errorf("--signing-key-overlap is %s, it must be between --token-ttl (%s), since tokens name the keys of their time, and %s", o.keyOverlap, o.tokenTTL, maxKeyOverlap)
	}
	if err := o.gatewayTLS.check(); err != nil {
		return err
	}
	return o.webhook.check()
}

// pinsOf returns the pins of the certificates in a PEM file: "sha256:" and the base64 of the SHA-256 of the SubjectPublicKeyInfo.
func pinsOf(file string) ([]string, error) {
	if file == "" {
		return nil, nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var pins []string
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("%s holds a %s; only certificates belong there", file, block.Type)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: certificate %d does not parse: %w", file, len(pins)+1, err)
		}
		pins = append(pins, tlspin.Pin(cert))
	}
	switch {
	case len(pins) == 0:
		return nil, fmt.Errorf("%s holds no PEM certificate", file)
	case len(pins) > maxPins:
		return nil, fmt.Errorf("%s holds %d certificates, at most %d can be pinned", file, len(pins), maxPins)
	}
	return pins, nil
}
