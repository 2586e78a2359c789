#!/usr/bin/env bash
# Prints what CHANGELOG.md says of a version; of one without a section, what is not released yet.
# usage: notes.sh VERSION
set -euo pipefail
cd "$(dirname "$0")/../.."
section() {
  awk -v want="$1" '/^## / { on = ($0 ~ "^## \\[" want "\\]") ; next } on' CHANGELOG.md
}
notes=$(section "${1#v}")
if [ -z "$notes" ]; then
  notes=$(section Unreleased)
fi
echo "# restic-manager $1"
echo "$notes"
