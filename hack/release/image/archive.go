package main

import (
	"archive/tar"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
)

// WriteArchive writes an image layout of OCI as one tar file, which `ctr image import`, `skopeo copy oci-archive:…`, `podman load` and a recent
// `docker load` take. It appears whole or not at all.
func WriteArchive(index v1.ImageIndex, file, version string) (err error) {
	folder, err := os.MkdirTemp(filepath.Dir(file), ".image-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	content := filepath.Join(folder, "layout")
	path, err := layout.Write(content, empty.Index)
	if err != nil {
		return err
	}
	name := "ghcr.io/restic-manager/restic-manager:" + version
	if err := path.AppendIndex(index, layout.WithAnnotations(map[string]string{
		"org.opencontainers.image.ref.name": version,
		"io.containerd.image.name":          name,
	})); err != nil {
		return err
	}
	packed := filepath.Join(folder, "packed")
	if err := pack(content, packed); err != nil {
		return err
	}
	return os.Rename(packed, file)
}

func pack(folder, file string) error {
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	w := tar.NewWriter(out)
	err = filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == folder {
			return err
		}
		return add(w, folder, path, entry, time.Unix(0, 0))
	})
	return errors.Join(err, w.Close(), out.Close())
}
