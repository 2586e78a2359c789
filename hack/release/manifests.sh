#!/usr/bin/env bash
# Prints config/default as one file, with the image of a version.
# usage: manifests.sh VERSION
set -euo pipefail
cd "$(dirname "$0")/../.."
.cache/bin/kubectl kustomize config/default | sed -E "s|(image: ghcr.io/restic-manager/restic-manager):.*|\1:$1|"
