package node

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// descriptor, and what it points at, are those parts of OCI's image format that matter here.
type descriptor struct {
	MediaType string
	Digest    string
	Platform  struct{ OS, Architecture string }
}

type manifest struct {
	Manifests []descriptor
	Config    descriptor
	Layers    []descriptor
}

// ImageConfig is what an image says of how to run it.
type ImageConfig struct {
	User       string
	Env        []string
	Entrypoint []string
	Cmd        []string
	WorkingDir string
}

// imageOf makes the files of an image available: those of a folder as they are, those of an archive in another folder.
func imageOf(source, folder string) (*unpacked, error) {
	if info, err := os.Stat(source); err == nil && info.IsDir() {
		return &unpacked{root: source, config: &ImageConfig{}}, nil
	}
	config, err := Unpack(source, folder)
	return &unpacked{root: folder, config: config}, err
}

// Unpack writes the files of an OCI archive's image for this architecture into a folder.
func Unpack(archive, folder string) (*ImageConfig, error) {
	blobs := folder + ".layout"
	if err := untarFile(archive, blobs, false); err != nil {
		return nil, fmt.Errorf("%s: %w", archive, err)
	}
	defer os.RemoveAll(blobs)
	var m manifest
	if err := readJSON(filepath.Join(blobs, "index.json"), &m); err != nil {
		return nil, err
	}
	for len(m.Layers) == 0 {
		next := choose(m.Manifests)
		if next == nil {
			return nil, fmt.Errorf("%s has no image for %s", archive, runtime.GOARCH)
		}
		m = manifest{}
		if err := readJSON(blob(blobs, *next), &m); err != nil {
			return nil, err
		}
	}
	for _, layer := range m.Layers {
		if err := untarFile(blob(blobs, layer), folder, true); err != nil {
			return nil, fmt.Errorf("layer %s: %w", layer.Digest, err)
		}
	}
	var config struct{ Config ImageConfig }
	err := readJSON(blob(blobs, m.Config), &config)
	return &config.Config, err
}

func choose(all []descriptor) *descriptor {
	for i, d := range all {
		if d.Platform.Architecture == "" || d.Platform.Architecture == runtime.GOARCH {
			return &all[i]
		}
	}
	return nil
}

func blob(folder string, d descriptor) string {
	algorithm, digest, _ := strings.Cut(d.Digest, ":")
	return filepath.Join(folder, "blobs", algorithm, digest)
}

func readJSON(file string, into any) error {
	raw, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, into)
}

func untarFile(file, folder string, zipped bool) error {
	packed, err := os.Open(file)
	if err != nil {
		return err
	}
	defer packed.Close()
	var from io.Reader = packed
	if zipped {
		if from, err = gzip.NewReader(packed); err != nil {
			return err
		}
	}
	root, err := openRoot(folder)
	if err != nil {
		return err
	}
	defer root.Close()
	for r := tar.NewReader(from); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := extract(root, header, r); err != nil {
			return fmt.Errorf("%s: %w", header.Name, err)
		}
	}
}

func openRoot(folder string) (*os.Root, error) {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, err
	}
	return os.OpenRoot(folder)
}

func extract(root *os.Root, header *tar.Header, content io.Reader) error {
	name := filepath.Clean(header.Name)
	mode := os.FileMode(header.Mode).Perm()
	switch header.Typeflag {
	case tar.TypeDir:
		return root.MkdirAll(name, mode|0o700) // this process writes into it yet
	case tar.TypeReg:
		if err := root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		file, err := root.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, mode)
		if err != nil {
			return err
		}
		_, err = io.Copy(file, content)
		return errors.Join(err, file.Close())
	}
	return fmt.Errorf("type %q is not known here", header.Typeflag)
}
