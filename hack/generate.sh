#!/usr/bin/env bash
# Writes every generated file below a folder: the repository itself (make generate) or an empty one to compare (make verify).
# usage: generate.sh OUTPUT_DIR
set -euo pipefail
mkdir -p "$1"
out=$(cd "$1" && pwd)
cd "$(dirname "$0")/.."
gen() { go tool controller-gen "$@"; }

echo "generating deep copies of the API types"
gen object:headerFile=hack/boilerplate.go.txt paths=./api/v1alpha1/... output:object:dir="$out/api/v1alpha1"

echo "generating CRDs"
gen crd paths=./api/v1alpha1/... output:crd:artifacts:config="$out/config/crd/bases"

# role NAME FOLDER FILE: the ClusterRole that the +kubebuilder:rbac markers in a folder ask for.
role() {
  [ -d "$2" ] || return 0
  echo "generating the role $1"
  gen rbac:roleName="$1",fileName="$3" paths="./$2/..." output:rbac:dir="$out/config/rbac"
}
role restic-manager-controller controllers controller_role.yaml
role restic-manager-gateway agentgateway gateway_role.yaml

echo "generating the page of metrics"
mkdir -p "$out/docs"
go run ./hack/metricsdoc "$out/docs/metrics.md"

echo "generating the pages of the plugin"
go run ./hack/clidocs "$out/docs/cli"

echo "generating the chart's templates"
go run ./hack/chartgen config "$out/charts/restic-manager"

echo "generating the pages of values and flags"
go run ./hack/configdoc charts/restic-manager/values.yaml "$out"
