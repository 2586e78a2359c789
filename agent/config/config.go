package config

import (
	"crypto/ed25519"
	"fmt"
	"net/url"
	"path/filepath"

	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/api/wire/seal"
)

// Where things are unless flags say otherwise.
const (
	DefaultPath     = "/etc/restic-manager/agent.yaml"
	DefaultStateDir = "/var/lib/restic-manager"
)

// Config is the content of agent.yaml.
type Config struct {
	Host     Host     `yaml:"host"`
	Gateway  Gateway  `yaml:"gateway"`
	Identity Identity `yaml:"identity"`
	// SigningKeys are the controllers' keys as of enrolment; each schedule set brings the ones that hold from then on.
	SigningKeys []SigningKey `yaml:"signingKeys"`
	// SerialFloor is the smallest serial of a schedule set that this machine accepts.
	SerialFloor int64 `yaml:"serialFloor"`
	Allow       Allow `yaml:"allow"`
	// StateDir holds everything that the agent writes. Default DefaultStateDir.
	StateDir string `yaml:"stateDir,omitempty"`
	// ResticPath is restic's program. Default: the first restic in PATH.
	ResticPath string `yaml:"resticPath,omitempty"`
}

// Host names the Host object that stands for this machine.
type Host struct {
	Namespace string `yaml:"namespace"`
	Name      string `yaml:"name"`
	UID       string `yaml:"uid"`
}

// Gateway is where the agent connects to.
type Gateway struct {
	// URL is https://host[:port].
	URL string `yaml:"url"`
	// TLSPins are "sha256:<base64>" of a public key in the gateway's certificate chain. Empty: the machine's own trust store.
	TLSPins []string `yaml:"tlsPins,omitempty"`
}

// Identity holds the machine's private keys.
type Identity struct {
	// SigningKey is the 32-byte seed of an Ed25519 key.
	SigningKey Bytes `yaml:"signingKey"`
	// SealingKey is a 32-byte X25519 key.
	SealingKey Bytes `yaml:"sealingKey"`
}

// SigningKey is one of the controllers' public keys.
type SigningKey struct {
	KeyID     string `yaml:"keyID"`
	PublicKey Bytes  `yaml:"publicKey"`
}

// Allow is the consent of the machine's owner to what reaches beyond backing up files. Everything is denied unless it stands here.
type Allow struct {
	// Hooks lets hosts and source groups run commands before and after a backup.
	Hooks Consent `yaml:"hooks"`
	// Commands lets a source group back up the output of a command.
	Commands Consent `yaml:"commands"`
	// Rclone lets repositories use rclone, which runs programs of its configuration. Without folders.
	Rclone Consent `yaml:"rclone"`
	// Restore lists absolute folders below which restores may write, beside the agent's own.
	Restore []string `yaml:"restore,omitempty"`
	// Queries lets people see the names and the content of files in snapshots through this machine; logs, lists of snapshots and diagnoses they may see anyway. Without folders.
	Queries Consent `yaml:"queries"`
}

// Ref is the host as messages name it.
func (c *Config) Ref() wire.HostRef {
	return wire.HostRef{Namespace: c.Host.Namespace, Name: c.Host.Name}
}

// SigningPrivateKey signs hellos.
func (c *Config) SigningPrivateKey() ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(c.Identity.SigningKey)
}

// PublicIdentity is the public half of the machine's keys.
func (c *Config) PublicIdentity() (wire.Identity, error) {
	if len(c.Identity.SigningKey) != ed25519.SeedSize {
		return wire.Identity{}, fmt.Errorf("identity.signingKey has %d bytes, want %d", len(c.Identity.SigningKey), ed25519.SeedSize)
	}
	sealing, err := seal.SealingPublicKey(c.Identity.SealingKey)
	if err != nil {
		return wire.Identity{}, fmt.Errorf("identity.sealingKey: %w", err)
	}
	return wire.Identity{SigningKey: c.SigningPrivateKey().Public().(ed25519.PublicKey), SealingKey: sealing}, nil
}

// TrustedKeys are the controllers' keys as of enrolment.
func (c *Config) TrustedKeys() []wire.SigningKey {
	out := make([]wire.SigningKey, 0, len(c.SigningKeys))
	for _, k := range c.SigningKeys {
		out = append(out, wire.SigningKey{KeyID: k.KeyID, PublicKey: k.PublicKey})
	}
	return out
}

// FromWire turns the controllers' keys of a token into their form in the file.
func FromWire(keys []wire.SigningKey) []SigningKey {
	out := make([]SigningKey, 0, len(keys))
	for _, k := range keys {
		out = append(out, SigningKey{KeyID: k.KeyID, PublicKey: k.PublicKey})
	}
	return out
}

// setDefaults fills in what may be left out.
func (c *Config) setDefaults() {
	if c.StateDir == "" {
		c.StateDir = DefaultStateDir
	}
}

// Validate checks every field; its error names the field and what it should be.
func (c *Config) Validate() error {
	if err := c.Ref().Validate(); err != nil {
		return fmt.Errorf("host.%w", err)
	}
	if c.Host.UID == "" {
		return fmt.Errorf("host.uid is missing")
	}
	if err := checkGatewayURL(c.Gateway.URL); err != nil {
		return fmt.Errorf("gateway.url %w", err)
	}
	if _, err := c.PublicIdentity(); err != nil {
		return err
	}
	if len(c.SigningKeys) == 0 {
		return fmt.Errorf("signingKeys are missing: without them the agent trusts nobody")
	}
	for i, k := range c.TrustedKeys() {
		if err := k.Validate(); err != nil {
			return fmt.Errorf("signingKeys[%d].%w", i, err)
		}
	}
	if c.SerialFloor < 0 {
		return fmt.Errorf("serialFloor is negative")
	}
	return c.ValidateLocal()
}

// ValidateLocal checks what the machine's owner decides: folders and consent.
func (c *Config) ValidateLocal() error {
	if !filepath.IsAbs(c.StateDir) {
		return fmt.Errorf("stateDir %q is not an absolute path", c.StateDir)
	}
	if c.ResticPath != "" && !filepath.IsAbs(c.ResticPath) {
		return fmt.Errorf("resticPath %q is not an absolute path", c.ResticPath)
	}
	return c.Allow.validate()
}

func (a Allow) validate() error {
	for _, f := range []struct {
		field string
		value Consent
		dirs  bool
	}{{"hooks", a.Hooks, true}, {"commands", a.Commands, true}, {"rclone", a.Rclone, false}, {"queries", a.Queries, false}} {
		if err := f.value.validate(); err != nil {
			return fmt.Errorf("allow.%s: %w", f.field, err)
		}
		if !f.dirs && len(f.value.AllowDirs) > 0 {
			return fmt.Errorf("allow.%s takes no %s, want %s or %s", f.field, fieldDirs, wordAllow, wordDeny)
		}
	}
	for i, dir := range a.Restore {
		if !filepath.IsAbs(dir) {
			return fmt.Errorf("allow.restore[%d] %q is not an absolute path", i, dir)
		}
	}
	return nil
}

func checkGatewayURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil {
		return fmt.Errorf("is %q, want https://host or https://host:port", text)
	}
	return nil
}
