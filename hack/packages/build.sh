#!/usr/bin/env bash
# Builds what a machine gets: the agent for each architecture as .tar.gz, .deb and .rpm, and the folder from which a gateway serves the installer.
# The same commit gives the same bytes: dates are those of the commit, names of users and machines are in nothing.
# usage: build.sh OUTPUT_DIR VERSION install|packages
#   install   OUTPUT_DIR/install: install.sh, the agent's tarballs, restic's pinned builds, SHA256SUMS
#   packages  that, and in OUTPUT_DIR the tarballs, .deb and .rpm
# ARCHES limits the architectures (default: "amd64 arm64 armv7"). CACHE is where built components are kept (default: .cache).
set -euo pipefail
cd "$(dirname "$0")/../.."
out=$1 version=${2#v} what=$3
arches=${ARCHES:-amd64 arm64 armv7}
cache=${CACHE:-.cache}
restic_version=0.19.1
name=restic-manager-agent
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export CGO_ENABLED=0 TZ=UTC LC_ALL=C
umask 022
case $version in *[!A-Za-z0-9.+-]*) echo "build.sh: version $version has characters that do not belong into a file's name" >&2; exit 2 ;; esac
ldflags="-s -w -X github.com/restic-manager/restic-manager/internal/version.Version=$2"

# package_version: what deb and rpm can sort. A tag is itself; commits after a tag come after it, and without any tag before all.
package_version() {
  case $version in
    [0-9]*-[0-9]*-g*) echo "$version" | sed -E 's/-([0-9]+)-g([0-9a-f]+)(-dirty)?$/+\1.g\2\3/; s/-dirty$/.dirty/' ;;
    [0-9]*.[0-9]*.[0-9]*) echo "$version" ;;
    *) echo "0.0.0-git.$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y%m%d).g${version//[^A-Za-z0-9]/.}" ;;
  esac
}

# go_for ARCH COMMAND…: runs a command that builds for an architecture.
go_for() {
  local arch=$1 goarm=
  shift
  if [ "$arch" = armv7 ]; then arch=arm goarm=7; fi
  GOOS=linux GOARCH=$arch GOARM=$goarm "$@"
}

# pages: man pages and completions, the same for each architecture.
pages() {
  rm -rf "$out/build/pages"
  mkdir -p "$out/build/pages"
  go run -tags pages -ldflags "$ldflags" ./cmd/$name "$out/build/pages"
  gzip -9n "$out"/build/pages/man/*
}

# tree ARCH: the files of a machine, as they lie below /.
tree() {
  local tree=$out/build/linux_$1
  rm -rf "$tree"
  install -D -m 0755 "$out/build/$name.$1" "$tree/usr/bin/$name"
  install -D -m 0644 packaging/systemd/$name.service "$tree/usr/lib/systemd/system/$name.service"
  install -D -m 0644 -t "$tree/usr/share/man/man1" "$out"/build/pages/man/*
  install -D -m 0644 "$out/build/pages/completions/$name" "$tree/usr/share/bash-completion/completions/$name"
  install -D -m 0644 "$out/build/pages/completions/_$name" "$tree/usr/share/zsh/site-functions/_$name"
  install -D -m 0644 "$out/build/pages/completions/$name.fish" "$tree/usr/share/fish/vendor_completions.d/$name.fish"
  install -D -m 0644 -t "$tree/usr/share/doc/$name" LICENSE packaging/README.md
  install -D -m 0644 -t "$tree/usr/share/doc/$name/drop-ins" packaging/systemd/drop-ins/*.conf
  find "$tree" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
}

tarball() {
  tar -C "$out/build/linux_$1" --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner --format=ustar -cf - usr |
    gzip -9n >"$out/install/${name}_${version}_linux_$1.tar.gz"
}

# restic ARCH: the pinned build, from the module that tests use too. For this machine's own architecture it is the very same.
restic() {
  local dir=$cache/bin
  if [ "$(go_for "$1" go env GOARCH)" != "$(go env GOHOSTARCH)" ]; then dir=$cache/linux_$1/bin; fi
  KUBEBUILDER_ASSETS='' go_for "$1" hack/components/build.sh "$dir" restic-0.19
  gzip -9nc "$dir/restic-0.19" >"$out/install/restic_${restic_version}_linux_$1.gz"
}

# installer: install.sh, with the checksum of everything that it may fetch.
installer() {
  sed -e "s/@VERSION@/$version/g" -e "s/@RESTIC_VERSION@/$restic_version/g" \
    -e '/^@ARTIFACTS@$/{' -e "r $out/build/artifacts" -e 'd' -e '}' packaging/install/install.sh.in >"$out/install/install.sh"
  chmod 0755 "$out/install/install.sh"
}

packages() {
  rm -f "$out"/*.deb "$out"/*.rpm "$out"/*.tar.gz
  hack/components/build.sh "$cache/bin" nfpm
  local arch format
  PACKAGE_VERSION=$(package_version)
  export PACKAGE_VERSION
  for arch in $arches; do
    for format in deb rpm; do
      PACKAGE_TREE=$out/build/linux_$arch PACKAGE_ARCH=${arch/armv7/arm7} "$cache/bin/nfpm" package -f packaging/nfpm.yaml -p "$format" -t "$out/" >/dev/null
    done
  done
  cp -p "$out"/install/*.tar.gz "$out/"
}

echo "building the agent $version for $arches"
rm -rf "$out/install"
mkdir -p "$out/build" "$out/install"
out=$(cd "$out" && pwd)
pages
for arch in $arches; do
  go_for "$arch" go build -trimpath -ldflags "$ldflags" -o "$out/build/$name.$arch" ./cmd/$name
  tree "$arch"
  tarball "$arch"
  restic "$arch"
done
cp "$(go list -C hack/components/restic-0.19 -m -f '{{.Dir}}' github.com/restic/restic)/LICENSE" "$out/install/restic_${restic_version}_LICENSE.txt"
chmod 0644 "$out"/install/*
(cd "$out/install" && sha256sum -- *.gz) | awk '{print $2, $1}' >"$out/build/artifacts"
installer
(cd "$out/install" && sha256sum -- * >../build/SHA256SUMS && mv ../build/SHA256SUMS .)
if [ "$what" = packages ]; then packages; fi
