#!/usr/bin/env bash
# Keeps what a release is, for the tests of the next ones: its CRDs, and an empty list of accepted changes.
# usage: hack/freeze.sh v0.2.0
set -euo pipefail
version=${1:?usage: hack/freeze.sh VERSION, for instance v0.2.0}
[[ $version =~ ^v[0-9]+\.[0-9]+\.[0-9]+$ ]] || { echo "the version must be like v0.2.0, not $version" >&2; exit 1; }
cd "$(dirname "$0")/.."
mkdir -p "test/compat/crds/$version"
cp config/crd/bases/*.yaml "test/compat/crds/$version/"
sed -i '/^[^#]/d' test/compat/accepted.yaml
echo "[]" >> test/compat/accepted.yaml
echo "kept the CRDs of $version in test/compat/crds/$version, and emptied test/compat/accepted.yaml"
