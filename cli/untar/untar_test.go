package untar

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// entry of an archive; a file has content.
type entry struct {
	name, content, link string
	kind                byte
	mode                int64
}

func archive(t *testing.T, entries ...entry) *bytes.Reader {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		if e.kind == 0 {
			e.kind = tar.TypeReg
		}
		if e.mode == 0 {
			e.mode = 0o644
		}
		h := &tar.Header{Name: e.name, Typeflag: e.kind, Mode: e.mode, Linkname: e.link, Size: int64(len(e.content)), ModTime: time.Unix(1_700_000_000, 0)}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(e.content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return bytes.NewReader(b.Bytes())
}

// folders are one to unpack into, and one beside it that nothing may touch.
func folders(t *testing.T) (inside *os.Root, outside string) {
	t.Helper()
	top := t.TempDir()
	for _, name := range []string{"inside", "outside"} {
		if err := os.Mkdir(filepath.Join(top, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	root, err := os.OpenRoot(filepath.Join(top, "inside"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = root.Close() })
	return root, filepath.Join(top, "outside")
}

func TestATreeIsUnpackedAsItWas(t *testing.T) {
	root, _ := folders(t)
	done, err := Into(root, archive(t,
		entry{name: "/etc", kind: tar.TypeDir, mode: 0o500},
		entry{name: "/etc/nginx.conf", content: "server {}", mode: 0o640},
		entry{name: "/etc/link", kind: tar.TypeSymlink, link: "/etc/nginx.conf"},
		entry{name: "/etc/hard", kind: tar.TypeLink, link: "/etc/nginx.conf"},
		entry{name: "/etc/suid", content: "x", mode: 0o4755},
		entry{name: "/dev/null", kind: tar.TypeChar},
		entry{name: "var/deep/file", content: "deep"},
	), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if want := (Done{Files: 3, Folders: 1, Links: 2, Bytes: 14, Skipped: 1}); done != want {
		t.Errorf("done %+v, expected %+v", done, want)
	}
	info, err := root.Stat("etc/nginx.conf")
	if err != nil || info.Mode() != 0o640 || info.ModTime().Unix() != 1_700_000_000 {
		t.Errorf("nginx.conf: %v, %v", info, err)
	}
	if info, err = root.Stat("etc"); err != nil || info.Mode().Perm() != 0o500 {
		t.Errorf("the folder: %v, %v", info, err)
	}
	if info, err = root.Stat("etc/suid"); err != nil || info.Mode() != 0o755 {
		t.Errorf("the bit setuid: %v, %v; expected that it is dropped", info, err)
	}
	if target, err := root.Readlink("etc/link"); err != nil || target != "/etc/nginx.conf" {
		t.Errorf("the link points to %q, %v", target, err)
	}
	if content, err := root.ReadFile("var/deep/file"); err != nil || string(content) != "deep" {
		t.Errorf("the deep file holds %q, %v", content, err)
	}
	_ = root.Chmod("etc", 0o700) // so that it can be removed
}

func TestNothingIsWrittenOutside(t *testing.T) {
	for name, entries := range map[string][]entry{
		"a name with dots":                        {{name: "../outside/evil", content: "x"}},
		"a name with dots in the middle":          {{name: "a/../../outside/evil", content: "x"}},
		"a link out, and a file through it":       {{name: "out", kind: tar.TypeSymlink, link: "../outside"}, {name: "out/evil", content: "x"}},
		"an absolute link, and a file through it": {{name: "out", kind: tar.TypeSymlink, link: "OUTSIDE"}, {name: "out/evil", content: "x"}},
		"a link to a file that is written over":   {{name: "evil", kind: tar.TypeSymlink, link: "OUTSIDE/precious"}, {name: "evil", content: "x"}},
		"a hard link to a file outside":           {{name: "evil", kind: tar.TypeLink, link: "../outside/precious"}, {name: "evil", content: "x"}},
		"a hard link by way of a link":            {{name: "out", kind: tar.TypeSymlink, link: "OUTSIDE"}, {name: "evil", kind: tar.TypeLink, link: "out/precious"}},
		"a folder by way of a link":               {{name: "out", kind: tar.TypeSymlink, link: "OUTSIDE"}, {name: "out/evil", kind: tar.TypeDir}},
		"a folder that is a link":                 {{name: "out", kind: tar.TypeSymlink, link: "OUTSIDE"}, {name: "out", kind: tar.TypeDir, mode: 0o777}},
	} {
		t.Run(name, func(t *testing.T) {
			root, outside := folders(t)
			precious := filepath.Join(outside, "precious")
			if err := os.WriteFile(precious, []byte("precious"), 0o600); err != nil {
				t.Fatal(err)
			}
			for i := range entries {
				entries[i].link = strings.Replace(entries[i].link, "OUTSIDE", outside, 1)
			}
			_, err := Into(root, archive(t, entries...), Options{Overwrite: Always})
			t.Logf("the extraction ended with: %v", err)
			content, readErr := os.ReadFile(precious)
			left, listErr := os.ReadDir(outside)
			if string(content) != "precious" || len(left) != 1 || readErr != nil || listErr != nil {
				t.Errorf("outside are now %v, and the file holds %q", left, content)
			}
			if info, err := os.Stat(outside); err != nil || info.Mode().Perm() != 0o755 {
				t.Errorf("the mode of the folder outside is %v (%v)", info.Mode(), err)
			}
		})
	}
}

func TestFilesThatExist(t *testing.T) {
	for _, tt := range []struct {
		overwrite Overwrite
		want      string
		kept      int64
		fails     string
	}{
		{Refuse, "old", 0, "--overwrite"}, {Never, "old", 1, ""}, {Always, "new", 0, ""},
	} {
		t.Run("overwrite "+string(tt.overwrite), func(t *testing.T) {
			root, _ := folders(t)
			if err := root.WriteFile("file", []byte("old"), 0o600); err != nil {
				t.Fatal(err)
			}
			done, err := Into(root, archive(t, entry{name: "file", content: "new"}), Options{Overwrite: tt.overwrite})
			if (err == nil) != (tt.fails == "") || err != nil && !strings.Contains(err.Error(), tt.fails) {
				t.Errorf("got %v, expected an error with %q", err, tt.fails)
			}
			if content, _ := root.ReadFile("file"); string(content) != tt.want || done.Kept != tt.kept {
				t.Errorf("the file holds %q and %d were kept, expected %q and %d", content, done.Kept, tt.want, tt.kept)
			}
		})
	}
}

func TestAnArchiveThatBreaksOffIsAnError(t *testing.T) {
	root, _ := folders(t)
	var b bytes.Buffer
	_, _ = archive(t, entry{name: "file", content: strings.Repeat("x", 4096)}).WriteTo(&b)
	whole := b.Bytes()[:2000]
	if _, err := Into(root, bytes.NewReader(whole), Options{}); err == nil {
		t.Error("expected an error")
	}
}
