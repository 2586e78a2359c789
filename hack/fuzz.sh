#!/usr/bin/env bash
# Runs each fuzz target for some time, one after the other: go test takes one at a time.
# usage: fuzz.sh DURATION PACKAGE_FOLDER...
set -euo pipefail
cd "$(dirname "$0")/.."
duration=$1
shift
targets=0
while IFS=: read -r file line; do
  name=$(sed -E 's/^func (Fuzz[A-Za-z0-9_]*).*/\1/' <<<"$line")
  echo "fuzzing $name in $(dirname "$file") for $duration"
  # Left alone, go spends the whole time on making the first interesting inputs smaller.
  go test -run '^$' -fuzz "^$name\$" -fuzztime "$duration" -fuzzminimizetime 10x "./$(dirname "$file")"
  targets=$((targets + 1))
done < <(grep -rHE --include='*_test.go' '^func Fuzz[A-Z]' "$@" | sort)
if [ "$targets" = 0 ]; then
  echo "no fuzz target in $*" >&2
  exit 1
fi
echo "$targets fuzz targets, no failure"
