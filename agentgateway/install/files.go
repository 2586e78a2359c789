package install

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"time"
)

// Script is the name of the installer.
const Script = "install.sh"

// maxFiles bounds the folder.
const maxFiles = 256

// served are the names that are: the installer, checksums, licenses, tarballs and compressed programs.
var served = regexp.MustCompile(`^(install\.sh|SHA256SUMS|[A-Za-z0-9][A-Za-z0-9._+~-]*\.(tar\.gz|gz|txt))$`)

// Files are the content of a folder.
type Files struct {
	root   *os.Root
	byName map[string]file
}

// file is what is known of one without opening it.
type file struct {
	etag    string
	changed time.Time
}

// Open reads a folder. Names that do not belong there are left out; an installer must be there.
func Open(folder string) (*Files, error) {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, err
	}
	f := &Files{root: root, byName: map[string]file{}}
	if err := f.read(); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", folder, err), root.Close())
	}
	return f, nil
}

func (f *Files) read() error {
	entries, err := fs.ReadDir(f.root.FS(), ".")
	if err != nil {
		return err
	}
	if len(entries) > maxFiles {
		return fmt.Errorf("it holds %d files, at most %d are served", len(entries), maxFiles)
	}
	for _, entry := range entries {
		if !served.MatchString(entry.Name()) {
			continue
		}
		info, err := f.root.Stat(entry.Name()) // a link that leads out of the folder is an error
		if err != nil {
			return err
		}
		if !info.Mode().IsRegular() {
			continue
		}
		sum, err := f.sum(entry.Name())
		if err != nil {
			return err
		}
		f.byName[entry.Name()] = file{etag: `"` + sum + `"`, changed: info.ModTime()}
	}
	if _, found := f.byName[Script]; !found {
		return fmt.Errorf("there is no %s: make install-artifacts writes the whole folder", Script)
	}
	return nil
}

func (f *Files) sum(name string) (string, error) {
	opened, err := f.root.Open(name)
	if err != nil {
		return "", err
	}
	defer opened.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, opened); err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

// Len is how many files there are.
func (f *Files) Len() int { return len(f.byName) }

// Close lets go of the folder.
func (f *Files) Close() error { return f.root.Close() }
