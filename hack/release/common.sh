# For the scripts beside it: version, commit, time, and how programs and archives are made so that the same commit gives the same bytes.
version=${VERSION:-$(git describe --tags --always --dirty 2>/dev/null || echo dev)}
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
export SOURCE_DATE_EPOCH
release_tools=$PWD/.cache/release-bin

# program OUTPUT OS ARCH NAME: builds cmd/NAME.
program() {
  CGO_ENABLED=0 GOOS=$2 GOARCH=$3 go build -trimpath -buildvcs=false \
    -ldflags "-s -w -X github.com/restic-manager/restic-manager/internal/version.Version=$version" -o "$1" "./cmd/$4"
}

# archive OUTPUT FOLDER FILE...: a .tar.gz without anything of this machine or moment in it.
archive() {
  local out=$1 folder=$2
  shift 2
  tar -C "$folder" --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX -cf - "$@" | gzip -9n >"$out"
}

# tool NAME PACKAGE: builds a program of hack/release for this machine, and sets NAME to it.
tool() {
  mkdir -p "$release_tools"
  go build -C hack/release -o "$release_tools/$1" "$2"
}
