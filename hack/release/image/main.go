// Command image packs the programs into one image for several architectures: an OCI archive, without a Docker daemon, the same bytes for the
// same programs.
//
//	image -version v1.2.3 -revision SHA -time 1767225600 -programs dist/image -shared dist/image/shared -out dist/restic-manager.oci.tar
//
// The folder -programs has a folder for each architecture (amd64, arm64), whose files go to the root of the image; what is in -shared goes there
// for all of them. Nothing else is inside: no shell, no package manager, no certificates (the programs talk to the API server alone, with the
// authority that every pod is given). With -push it goes to a registry, with the credentials of docker's configuration.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

func run() error {
	var s Spec
	var seconds int64
	var out, push string
	flag.StringVar(&s.Version, "version", "", "version of the programs")
	flag.StringVar(&s.Revision, "revision", "", "commit of the sources")
	flag.Int64Var(&seconds, "time", 0, "time of everything inside, in seconds since 1970 (the commit's)")
	flag.StringVar(&s.Programs, "programs", "", "folder with a folder for each architecture")
	flag.StringVar(&s.Shared, "shared", "", "folder whose content every architecture gets")
	flag.StringVar(&out, "out", "", "OCI archive to write")
	flag.StringVar(&push, "push", "", "where to push it as well, such as registry.example.com/restic-manager:v1.2.3")
	flag.Parse()
	if s.Version == "" || s.Programs == "" || out == "" {
		return errors.New("-version, -programs and -out are required")
	}
	s.Time = time.Unix(seconds, 0).UTC()
	index, err := Build(s)
	if err != nil {
		return err
	}
	digest, err := index.Digest()
	if err != nil {
		return err
	}
	if err := WriteArchive(index, out, s.Version); err != nil {
		return err
	}
	fmt.Printf("%s: %s\n", out, digest)
	if push == "" {
		return nil
	}
	reference, err := name.ParseReference(push)
	if err != nil {
		return fmt.Errorf("-push: %w", err)
	}
	return remote.WriteIndex(reference, index, remote.WithAuthFromKeychain(authn.DefaultKeychain))
}
