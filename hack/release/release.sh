#!/usr/bin/env bash
# Makes everything that a release publishes, in dist/release, from a clean checkout of its tag; publishes nothing.
# usage: release.sh      environment: VERSION (default: git describe). Called by make release, which has made packages, image and chart.
set -euo pipefail
cd "$(dirname "$0")/../.."
. hack/release/common.sh
out=dist/release work=dist/work
rm -rf "$out" "$work"
mkdir -p "$out" "$work"

case $version in
  v[0-9]*.[0-9]*.[0-9]*-dirty* | *-dirty) echo "release: the checkout has changes; commit them, or take what is in $out for trying alone" >&2 ;;
esac

echo "release $version: the plugin"
for platform in linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64; do
  os=${platform%/*} arch=${platform#*/} name=kubectl-restic
  [ "$os" = windows ] && name=kubectl-restic.exe
  folder=$work/kubectl-restic_${os}_$arch
  mkdir -p "$folder"
  program "$folder/$name" "$os" "$arch" kubectl-restic
  cp LICENSE "$folder/"
  archive "$out/kubectl-restic_${os}_$arch.tar.gz" "$folder" .
done

echo "release $version: agent, image, chart, manifests"
cp dist/*.deb dist/*.rpm dist/restic-manager-agent_*.tar.gz "$out/"
cp "dist/restic-manager_${version}.oci.tar" "$out/"
cp dist/chart/*.tgz "$out/"
hack/release/manifests.sh "$version" >"$out/install.yaml"

echo "release $version: licences and bills of materials"
tool licenses ./licenses
tool cyclonedx-gomod github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod
program "$work/restic-manager-agent" linux amd64 restic-manager-agent
programs=("$work/restic-manager-agent" "$work/kubectl-restic_linux_amd64/kubectl-restic" dist/image/amd64/restic-manager-controller dist/image/amd64/restic-manager-gateway)
"$release_tools/licenses" -out "$out/THIRD_PARTY_LICENSES.txt" "${programs[@]}"
for p in "${programs[@]}"; do
  # Without the time and the random number of the run: the same commit gives the same bytes.
  "$release_tools/cyclonedx-gomod" bin -json -licenses -noserial -version "$version" -output "$work/sbom.json" "$p"
  sed '/"timestamp":/d' "$work/sbom.json" >"$out/$(basename "$p").cdx.json"
done

echo "release $version: notes and checksums"
hack/release/notes.sh "$version" >"$out/RELEASE_NOTES.md"
krew=$(sed "s|VERSION|$version|g" hack/krew/restic.yaml)
for platform in linux_amd64 linux_arm64 darwin_amd64 darwin_arm64 windows_amd64; do
  sum=$(sha256sum "$out/kubectl-restic_$platform.tar.gz" | cut -d' ' -f1)
  krew=${krew//SHA256_${platform^^}/$sum}
done
echo "$krew" >"$out/restic.yaml"
(cd "$out" && sha256sum -- * >SHA256SUMS)
rm -rf "$work"
echo "release $version is in $out:"
ls -l "$out"
