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
	Credentials map[string]wire.Credential `json:"credentials"`
}

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

// credentials returns a fresh copy of everything.
func (v *Vault) credentials() map[string]wire.Credential {
	if v.sealed == nil {
		return nil
	}
	c, err := v.open(v.sealed)
	if err != nil {
		// Open and Put only keep what opens.
		panic("vault: content that was sealed by this process does not open")
	}
	return c.Credentials
}

// Put replaces all credentials, and returns when they are safe on disk. On an error the earlier ones stay, in memory and on disk. It
// writes nothing when they are the ones that it holds.
func (v *Vault) Put(credentials map[string]wire.Credential) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.sealed != nil && equal(v.credentials(), credentials) {
		return nil
	}
	plaintext, err := json.Marshal(content{Credentials: credentials})
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

func equal(a, b map[string]wire.Credential) bool {
	return maps.EqualFunc(a, b, func(x, y wire.Credential) bool { return maps.Equal(x.Environment, y.Environment) })
}

// Get returns a credential, and false when there is none of that name. The caller owns the result.
func (v *Vault) Get(name string) (wire.Credential, bool) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	c, ok := v.credentials()[name]
	return c, ok
}

// Names lists the names of all credentials, sorted.
func (v *Vault) Names() []string {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return slices.Sorted(maps.Keys(v.credentials()))
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
