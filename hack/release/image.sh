#!/usr/bin/env bash
# Packs controllers, gateway and what the gateway hands to machines into dist/restic-manager_VERSION.oci.tar, without a Docker daemon.
# usage: image.sh [REFERENCE]    with a reference, it is pushed there too
# environment: VERSION, DIST (default: dist; its folder install must be there: make install-artifacts), IMAGE_ARCHS (default: amd64 arm64)
set -euo pipefail
cd "$(dirname "$0")/../.."
. hack/release/common.sh
dist=${DIST:-dist}
content=$dist/image
rm -rf "$content"
mkdir -p "$content/shared/licenses"
for arch in ${IMAGE_ARCHS:-amd64 arm64}; do
  for name in restic-manager-controller restic-manager-gateway; do
    echo "building $name for linux/$arch ($version)"
    mkdir -p "$content/$arch"
    program "$content/$arch/$name" linux "$arch" "$name"
  done
done
cp -R "$dist/install" "$content/shared/install"
tool licenses ./licenses
cp LICENSE "$content/shared/licenses/LICENSE"
"$release_tools/licenses" -out "$content/shared/licenses/THIRD_PARTY_LICENSES.txt" "$content"/*/restic-manager-* "$dist"/build/restic-manager-agent.* "${CACHE:-.cache}/bin/restic-0.19"
tool image ./image
"$release_tools/image" -version "$version" -revision "$revision" -time "$SOURCE_DATE_EPOCH" -programs "$content" -shared "$content/shared" \
  -out "$dist/restic-manager_${version}.oci.tar" ${1:+-push "$1"}
