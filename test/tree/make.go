package tree

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Stats counts what Make wrote.
type Stats struct {
	Files int
	Bytes int64
}

// Unreadable is the path, below the root, of the file that only a reader with special capabilities can read.
const Unreadable = "secret/locked.key"

// Make fills root with a few thousand files: many small ones, some of megabytes, empty ones, long and odd names, a deep folder,
// symlinks (one dangling), a hard link, a sparse file, modes with the set-group-id bit, times in the past. Equal seeds give equal trees.
func Make(root string, files int, seed uint64) (Stats, error) {
	m := maker{root: root, random: rand.New(rand.NewPCG(seed, seed))}
	m.folder("")
	for i := range files {
		size := m.random.IntN(4 << 10)
		if i%200 == 0 {
			size = 1 << 20
		}
		m.file(fmt.Sprintf("data/d%02d/f%04d.bin", i%40, i), size)
	}
	m.file("empty", 0)
	m.file("names/with space, 'quotes' and \"more\"", 100)
	m.file("names/ünïcode-日本語-🗄", 100)
	m.file("names/new\nline", 100)
	m.file("names/-rf", 100)
	m.file("names/"+strings.Repeat("n", 255), 100)
	m.file("deep/"+strings.Repeat("folder/", 60)+"leaf", 100)
	m.folder("an/empty/folder")
	m.symlink("links/relative", "../empty")
	m.symlink("links/dangling", "/nowhere/at/all")
	m.symlink("links/to-folder", "../data")
	m.hardlink("links/hard", "data/d00/f0000.bin")
	m.sparse("sparse.img", 64<<20)
	m.mode("modes/executable", 0o755)
	m.mode("modes/read-only", 0o444)
	m.mode("modes/set-group-id", 0o2755)
	return m.stats, m.err
}

// MakeUnreadable adds the file Unreadable.
func MakeUnreadable(root string) error {
	m := maker{root: root, random: rand.New(rand.NewPCG(1, 1))}
	m.file(Unreadable, 64)
	m.do(func() error { return os.Chmod(m.path(Unreadable), 0) })
	return m.err
}

// Change edits, adds, removes, renames and re-modes a few files, so that two trees that Compare finds equal were made after it.
func Change(root string) error {
	m := maker{root: root, random: rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 7))}
	for i := range 20 {
		m.file(fmt.Sprintf("data/d%02d/f%04d.bin", i%40, i), 3000)
	}
	m.file("added/later", 5000)
	m.do(func() error { return os.Remove(m.path("names/-rf")) })
	m.do(func() error { return os.Rename(m.path("modes/read-only"), m.path("modes/renamed")) })
	m.do(func() error { return os.Chmod(m.path("modes/executable"), 0o700) })
	return m.err
}

type maker struct {
	root   string
	random *rand.Rand
	stats  Stats
	err    error
}

func (m *maker) path(name string) string { return filepath.Join(m.root, name) }

func (m *maker) do(step func() error) {
	if m.err == nil {
		m.err = step()
	}
}

func (m *maker) folder(name string) {
	m.do(func() error { return os.MkdirAll(m.path(name), 0o755) })
}

func (m *maker) file(name string, size int) {
	content := make([]byte, size)
	for i := range content {
		content[i] = byte(m.random.Uint32())
	}
	m.folder(filepath.Dir(name))
	// Replaced, not written into: a hard link of the old file stays as it was.
	m.do(func() error {
		if err := os.Remove(m.path(name)); err != nil && !os.IsNotExist(err) {
			return err
		}
		return os.WriteFile(m.path(name), content, 0o644)
	})
	m.age(name)
	m.stats.Files++
	m.stats.Bytes += int64(size)
}

// age gives a file a time in the past, with nanoseconds.
func (m *maker) age(name string) {
	then := time.Date(2020, 1, 1, 0, 0, 0, m.random.IntN(1e9), time.UTC).Add(time.Duration(m.random.IntN(1e6)) * time.Second)
	m.do(func() error { return os.Chtimes(m.path(name), then, then) })
}

func (m *maker) symlink(name, target string) {
	m.folder(filepath.Dir(name))
	m.do(func() error { return os.Symlink(target, m.path(name)) })
}

func (m *maker) hardlink(name, target string) {
	m.do(func() error { return os.Link(m.path(target), m.path(name)) })
}

func (m *maker) sparse(name string, size int64) {
	m.do(func() error {
		f, err := os.Create(m.path(name))
		if err != nil {
			return err
		}
		defer f.Close()
		if err := f.Truncate(size); err != nil {
			return err
		}
		_, err = f.WriteAt([]byte("in the middle of nothing"), size/2)
		return err
	})
	m.age(name)
	m.stats.Files++
	m.stats.Bytes += size
}

func (m *maker) mode(name string, mode uint32) {
	m.file(name, 10)
	m.do(func() error {
		bits := os.FileMode(mode & 0o777)
		if mode&0o2000 != 0 {
			bits |= os.ModeSetgid
		}
		return os.Chmod(m.path(name), bits)
	})
}
