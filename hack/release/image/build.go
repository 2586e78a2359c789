package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// user is nobody in particular, as in distroless images: the Deployments name it too.
const user = "65532:65532"

// Spec is what goes into an image.
type Spec struct {
	Version, Revision string
	// Time is that of every file and of the image itself.
	Time time.Time
	// Programs has a folder for each architecture; Shared may be empty.
	Programs, Shared string
}

// Build makes the index of an image for each architecture.
func Build(s Spec) (v1.ImageIndex, error) {
	var shared v1.Layer
	if s.Shared != "" {
		var err error
		if shared, err = layerOf(s.Shared, s.Time); err != nil {
			return nil, err
		}
	}
	folders, err := os.ReadDir(s.Programs)
	if err != nil {
		return nil, err
	}
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	found := false
	for _, f := range folders {
		if !f.IsDir() || f.Name() == filepath.Base(s.Shared) {
			continue
		}
		image, err := imageOf(s, f.Name(), shared)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name(), err)
		}
		found = true
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add: image, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: f.Name()}},
		})
	}
	if !found {
		return nil, errors.New("no folder of an architecture in " + s.Programs)
	}
	return index, nil
}

func imageOf(s Spec, arch string, shared v1.Layer) (v1.Image, error) {
	programs, err := layerOf(filepath.Join(s.Programs, arch), s.Time)
	if err != nil {
		return nil, err
	}
	layers := []v1.Layer{programs}
	if shared != nil {
		// First, since it changes less and is the same for all.
		layers = []v1.Layer{shared, programs}
	}
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	for _, l := range layers {
		if image, err = mutate.Append(image, mutate.Addendum{
			Layer: l, MediaType: types.OCILayer, History: v1.History{Created: v1.Time{Time: s.Time}, CreatedBy: "make image"},
		}); err != nil {
			return nil, err
		}
	}
	file, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	file = file.DeepCopy()
	file.OS, file.Architecture, file.Created = "linux", arch, v1.Time{Time: s.Time}
	file.Config = v1.Config{User: user, WorkingDir: "/", Labels: map[string]string{
		"org.opencontainers.image.title":       "restic-manager",
		"org.opencontainers.image.description": "Controllers and agent gateway of restic-manager, and the agent that the gateway hands out",
		"org.opencontainers.image.source":      "https://github.com/restic-manager/restic-manager",
		"org.opencontainers.image.licenses":    "Apache-2.0",
		"org.opencontainers.image.version":     s.Version,
		"org.opencontainers.image.revision":    s.Revision,
		"org.opencontainers.image.created":     s.Time.Format(time.RFC3339),
	}}
	return mutate.ConfigFile(image, file)
}
