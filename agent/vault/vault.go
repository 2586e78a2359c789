package vault

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"sync"

	"github.com/restic-manager/restic-manager/agent/atomicfile"
	"github.com/restic-manager/restic-manager/api/wire"
)

const (
	header   = "restic-manager-vault v1\n"
	keyLabel = "restic-manager/vault/v1"
	// maxFile bounds what Open reads: far more than a set's credentials can need.
	maxFile = 8 << 20
)

// DamagedError says that the file is not what this machine wrote, or was written under other keys.
type DamagedError struct {
	Path  string
	cause string
}

// Error implements error.
func (e *DamagedError) Error() string {
	return fmt.Sprintf("the credentials in %s do not open: %s. The file was left as it is", e.Path, e.cause)
}

// Vault holds credentials by name.
type Vault struct {
	path  string
	aead  cipher.AEAD
	write func(path string, data []byte) error

	mu     sync.RWMutex
	sealed []byte // nil while empty
}

type content struct {
	// Repository is the URL that CredentialRepository and Previous open; empty in files of earlier versions.
	Repository  string                     `json:"repository,omitempty"`
	Credentials map[string]wire.Credential `json:"credentials"`
}

// Previous is the name under which the repository's former credential is kept until the new one was seen to open it.
const Previous = wire.CredentialRepository + ".previous"

// Open reads the vault at path. privateKey is the machine's sealing private key. It returns a *DamagedError when there is a file that
// does not open.
func Open(path string, privateKey []byte) (*Vault, error) {
	if len(privateKey) != wire.KeySize {
		return nil, fmt.Errorf("vault: the sealing key has %d bytes, want %d", len(privateKey), wire.KeySize)
	}
	key, err := hkdf.Key(sha256.New, privateKey, nil, keyLabel, 32)
	if err != nil {
		return nil, fmt.Errorf("vault: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("vault: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("vault: %w", err)
	}
	v := &Vault{path: path, aead: aead, write: atomicfile.Write}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return v, nil
	}
	if err != nil {
		return nil, fmt.Errorf("vault: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxFile {
		return nil, &DamagedError{Path: path, cause: "it is not a regular file of a sensible size"}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("vault: %w", err)
	}
	sealed, ok := bytes.CutPrefix(data, []byte(header))
	if !ok {
		return nil, &DamagedError{Path: path, cause: "it does not begin with the line of a vault of this version"}
	}
	if _, err := v.open(sealed); err != nil {
		return nil, &DamagedError{Path: path, cause: err.Error()}
	}
	v.sealed = sealed
	return v, nil
}

// SetAside renames a damaged vault to a free name beside it and returns that name; nothing is deleted.
func SetAside(path string) (string, error) {
	to, err := atomicfile.SetAside(path)
	if err != nil {
		return "", fmt.Errorf("vault: %w", err)
	}
	return to, nil
}

// open decrypts the content; its errors never hold any of it.
func (v *Vault) open(sealed []byte) (content, error) {
	var c content
	if len(sealed) == 0 {
		return c, errors.New("it is cut off")
	}
	plaintext, err := v.aead.Open(nil, nil, sealed, []byte(header))
	if err != nil {
		return c, errors.New("it was changed, or written under other keys of this machine")
	}
	if json.Unmarshal(plaintext, &c) != nil {
		return c, errors.New("its content does not parse")
	}
	return c, nil
}

// content returns a fresh copy of everything.
func (v *Vault) content() content {
	if v.sealed == nil {
		return content{}
	}
	c, err := v.open(v.sealed)
	if err != nil {
		// Open and Put only keep what opens.
		panic("vault: content that was sealed by this process does not open")
	}
	return c
}

// Put replaces all credentials by those of a set whose repository has this URL, and returns when they are safe on disk. When the same repository
// gets another credential, the former stays as Previous until Confirm. On an error the earlier ones stay, in memory and on disk. Put writes nothing
// when nothing changes.
func (v *Vault) Put(repository string, credentials map[string]wire.Credential) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	old := v.content()
	next := content{Repository: repository, Credentials: maps.Clone(credentials)}
	if former, ok := old.former(next); ok {
		next.Credentials[Previous] = former
	}
	if v.sealed != nil && old.Repository == next.Repository && maps.EqualFunc(old.Credentials, next.Credentials, equal) {
		return nil
	}
	return v.store(next)
}

// former is the credential that is to be kept beside those of next. Of several that came and went unconfirmed it is the oldest: the last
// that is known to have opened the repository.
func (c content) former(next content) (wire.Credential, bool) {
	now, has := next.Credentials[wire.CredentialRepository]
	if !has || c.Repository != "" && c.Repository != next.Repository {
		return wire.Credential{}, false
	}
	former, ok := c.Credentials[Previous]
	if !ok {
		former, ok = c.Credentials[wire.CredentialRepository]
	}
	return former, ok && !equal(former, now)
}

func (v *Vault) store(c content) error {
	plaintext, err := json.Marshal(c)
	if err != nil {
		return errors.New("vault: the credentials do not encode")
	}
	sealed := v.aead.Seal(nil, nil, plaintext, []byte(header))
	if err := v.write(v.path, slices.Concat([]byte(header), sealed)); err != nil {
		return fmt.Errorf("vault: %w", err)
	}
	v.sealed = sealed
	return nil
}

// Fingerprint tells credentials apart, within one process, without holding them.
type Fingerprint [sha256.Size]byte

// FingerprintOf a credential.
func FingerprintOf(c wire.Credential) Fingerprint {
	raw, err := json.Marshal(c) // maps come out sorted
	if err != nil {
		return Fingerprint{}
	}
	return sha256.Sum256(raw)
}

// Confirm says that the repository was seen to open with a credential. When that is the present one, Previous is forgotten.
func (v *Vault) Confirm(seen Fingerprint) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	c := v.content()
	now, has := c.Credentials[wire.CredentialRepository]
	if _, waits := c.Credentials[Previous]; !waits || !has || FingerprintOf(now) != seen {
		return nil
	}
	delete(c.Credentials, Previous)
	return v.store(c)
}

func equal(x, y wire.Credential) bool {
	return maps.Equal(x.Environment, y.Environment) && x.ClientCertificate == y.ClientCertificate
}

// Repository is the URL that the credentials were put for; empty when that is not known.
func (v *Vault) Repository() string {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.content().Repository
}

// Get returns a credential, and false when there is none of that name. The caller owns the result.
func (v *Vault) Get(name string) (wire.Credential, bool) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	c, ok := v.content().Credentials[name]
	return c, ok
}

// Names lists the names of all credentials, sorted.
func (v *Vault) Names() []string {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return slices.Sorted(maps.Keys(v.content().Credentials))
}

// Clear forgets all credentials and removes the file. In memory they are gone even when the file cannot be removed.
func (v *Vault) Clear() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.sealed = nil
	if err := atomicfile.Remove(v.path); err != nil {
		return fmt.Errorf("vault: %w", err)
	}
	return nil
}
