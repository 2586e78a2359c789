package desired

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/restic-manager/restic-manager/api/wire"
)

// ErrNoSet: the machine has never stored a set.
var ErrNoSet = errors.New("there is no schedule set on this machine")

// Stored is what a machine has on disk.
type Stored struct {
	Set *wire.ScheduleSet
	// Credentials of the set, opened.
	Credentials map[string]wire.Credential
}

// Read reads and verifies the set on disk as Open does, and changes nothing: another process may work on the folder. Vault, Clock, Check and Logger
// of the configuration are not used. The error is ErrNoSet, a *Refusal, or one of the file system.
func Read(config Config) (Stored, error) {
	macKey, err := deriveMACKey(config.SealingKey)
	if err != nil {
		return Stored{}, fmt.Errorf("desired: %w", err)
	}
	config.Check = nil
	s := &Store{config: config, macKey: macKey, file: config.file()}
	data, err := s.readFile()
	if errors.Is(err, fs.ErrNotExist) {
		return Stored{}, ErrNoSet
	}
	if err != nil {
		return Stored{}, err
	}
	v, _, refusal := s.verifyFile(data)
	if refusal != nil {
		return Stored{}, refusal
	}
	return Stored{Set: v.set, Credentials: v.credentials}, nil
}
