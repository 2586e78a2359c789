package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

func spec(t *testing.T) Spec {
	t.Helper()
	folder := t.TempDir()
	for name, content := range map[string]string{
		"amd64/gateway": "for amd64", "arm64/gateway": "for arm64", "shared/install/install.sh": "#!/bin/bash", "shared/LICENSE": "text",
	} {
		path := filepath.Join(folder, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(content), 0o700)); err != nil {
			t.Fatal(err)
		}
	}
	return Spec{Version: "v1.2.3", Revision: "abc", Time: time.Unix(1767225600, 0).UTC(), Programs: folder, Shared: filepath.Join(folder, "shared")}
}

func build(t *testing.T, s Spec) v1.ImageIndex {
	t.Helper()
	index, err := Build(s)
	if err != nil {
		t.Fatal(err)
	}
	return index
}

func TestAnImageForEachArchitecture(t *testing.T) {
	s := spec(t)
	archive := filepath.Join(t.TempDir(), "image.tar")
	if err := WriteArchive(build(t, s), archive, s.Version); err != nil {
		t.Fatal(err)
	}
	index := open(t, archive)
	if err := validate.Index(index); err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil || len(manifest.Manifests) != 2 {
		t.Fatalf("manifests are %+v, %v", manifest, err)
	}
	for _, m := range manifest.Manifests {
		image, err := index.Image(m.Digest)
		if err != nil {
			t.Fatal(err)
		}
		config, err := image.ConfigFile()
		if err != nil || config.Architecture != m.Platform.Architecture || config.Config.User != "65532:65532" || config.Config.Labels["org.opencontainers.image.version"] != "v1.2.3" {
			t.Errorf("config is %+v, %v", config, err)
		}
		files := filesOf(t, image)
		if got := files["gateway"]; got.content != "for "+m.Platform.Architecture || got.header.Mode != 0o555 || got.header.Uid != 0 {
			t.Errorf("gateway is %+v", got)
		}
		if files["install/install.sh"].content != "#!/bin/bash" || files["install/"].header.Mode != 0o555 {
			t.Errorf("shared files are %+v", files)
		}
	}
}

// open unpacks an archive, as who imports it does, and returns the image's own index.
func open(t *testing.T, archive string) v1.ImageIndex {
	t.Helper()
	folder := t.TempDir()
	packed, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer packed.Close()
	for name, f := range read(t, packed) {
		path := filepath.Join(folder, name)
		if f.header.Typeflag == tar.TypeDir {
			err = os.MkdirAll(path, 0o700)
		} else if err = os.MkdirAll(filepath.Dir(path), 0o700); err == nil {
			err = os.WriteFile(path, []byte(f.content), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	outer, err := layout.ImageIndexFromPath(folder)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := outer.IndexManifest()
	if err != nil || len(manifest.Manifests) != 1 {
		t.Fatalf("the archive holds %+v, %v", manifest, err)
	}
	index, err := outer.ImageIndex(manifest.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	return index
}

type file struct {
	header  *tar.Header
	content string
}

func filesOf(t *testing.T, image v1.Image) map[string]file {
	t.Helper()
	reader := mutate.Extract(image)
	defer reader.Close()
	return read(t, reader)
}

func read(t *testing.T, from io.Reader) map[string]file {
	t.Helper()
	files := map[string]file{}
	for r := tar.NewReader(from); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		name := header.Name
		if header.Typeflag == tar.TypeDir && name[len(name)-1] != '/' {
			name += "/"
		}
		files[name] = file{header, string(content)}
	}
}

func TestTheSameProgramsGiveTheSameBytes(t *testing.T) {
	first, second := filepath.Join(t.TempDir(), "1.tar"), filepath.Join(t.TempDir(), "2.tar")
	for _, out := range []string{first, second} {
		if err := WriteArchive(build(t, spec(t)), out, "v1.2.3"); err != nil { // each from files of its own, with times of their own
			t.Fatal(err)
		}
	}
	a, errA := os.ReadFile(first)
	b, errB := os.ReadFile(second)
	if errA != nil || errB != nil || !bytes.Equal(a, b) || len(a) == 0 {
		t.Errorf("archives of %d and %d bytes differ (%v, %v)", len(a), len(b), errA, errB)
	}
	if entries, err := os.ReadDir(filepath.Dir(first)); err != nil || len(entries) != 1 {
		t.Errorf("more than the archive is left: %v, %v", entries, err)
	}
}

func TestAFolderWithoutProgramsIsRefused(t *testing.T) {
	if _, err := Build(Spec{Version: "v1", Programs: t.TempDir()}); err == nil {
		t.Error("no error")
	}
}
