#!/usr/bin/env bash
# Fails when a generated file is not what make generate would write. The working tree is only read.
set -euo pipefail
cd "$(dirname "$0")/.."
want=$(mktemp -d)
trap 'rm -rf "$want"' EXIT
hack/generate.sh "$want"

failed=0
while read -r file; do
  if ! diff -u --label "$file (in the tree)" --label "$file (generated)" "$file" "$want/$file"; then
    failed=1
  fi
done < <(cd "$want" && find . -type f | sed 's|^\./||' | sort)
# A CRD whose type is gone, or the page of a command, would stay for ever.
for file in config/crd/bases/* docs/cli/*.md docs/cli/man/* $(grep -l '^{{- /\* Written by make generate' -r charts/*/templates); do
  if [ ! -e "$want/$file" ]; then
    echo "$file is not generated any more: remove it"
    failed=1
  fi
done
if [ "$failed" != 0 ]; then
  echo "generated files are out of date: run make generate and commit what changed" >&2
  exit 1
fi
