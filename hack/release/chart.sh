#!/usr/bin/env bash
# Packages the Helm chart into dist/chart, with the version of a release where there is a tag.
# usage: chart.sh      environment: VERSION, DIST (default: dist)
set -euo pipefail
cd "$(dirname "$0")/../.."
. hack/release/common.sh
out=${DIST:-dist}/chart
rm -rf "$out"
mkdir -p "$out"
# Helm takes semantic versions alone: without a tag, that of Chart.yaml with the commit behind it.
number=${version#v}
case $number in
  [0-9]*.[0-9]*.[0-9]*) ;;
  *) number=$(sed -n 's/^version: *//p' charts/restic-manager/Chart.yaml)-git.$number ;;
esac
.cache/bin/helm package charts/restic-manager --version "$number" --app-version "$version" -d "$out"
