#!/usr/bin/env bash
# Builds one component of demo and tests into the cache folder, unless it is there in the pinned version.
# usage: build.sh OUTPUT_DIR COMPONENT...   (components: see the case below)
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
# Absolute, since go build -C changes the folder.
out=$(cd "$1" && pwd)
shift

k8s=v1.37.2
k8s_flags="-X k8s.io/component-base/version.gitVersion=$k8s -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=37 -X k8s.io/client-go/pkg/version.gitVersion=$k8s -X k8s.io/client-go/pkg/version.gitMajor=1 -X k8s.io/client-go/pkg/version.gitMinor=37"
# The version that helm template and helm lint take for the cluster's; it is 1.20 otherwise.
helm_flags=""
for package in chartutil lint/rules; do
  helm_flags+=" -X helm.sh/helm/v3/pkg/$package.k8sVersionMajor=1 -X helm.sh/helm/v3/pkg/$package.k8sVersionMinor=37"
done

# Files of modules rather than programs.
crds() {
  local gateway cert_manager
  dir() { go mod download -C "$here/crds" -json "$1" | sed -n 's/^\t"Dir": "\(.*\)",\?$/\1/p'; }
  gateway=$(dir sigs.k8s.io/gateway-api) cert_manager=$(dir github.com/cert-manager/cert-manager)
  mkdir -p "$out/crds"
  cp --no-preserve=mode "$gateway"/config/crd/standard/gateway.networking.k8s.io_{httproutes,tlsroutes,backendtlspolicies}.yaml \
    "$cert_manager"/deploy/crds/cert-manager.io_{certificates,issuers}.yaml "$out/crds/"
}

for name in "$@"; do
  flags="" tags=""
  case $name in
    kube-apiserver | kube-controller-manager | kubectl)
      module=kubernetes package=k8s.io/kubernetes/cmd/$name flags=$k8s_flags ;;
    etcd) module=etcd package=go.etcd.io/etcd/server/v3 ;;
    restic-0.19) module=restic-0.19 package=github.com/restic/restic/cmd/restic flags="-X main.version=0.19.1" ;;
    restic-0.18) module=restic-0.18 package=github.com/restic/restic/cmd/restic flags="-X main.version=0.18.1" ;;
    rest-server) module=rest-server package=github.com/restic/rest-server/cmd/rest-server flags="-X main.version=0.14.0" ;;
    # Without service discovery, which pulls in the clients of twenty clouds.
    prometheus | promtool)
      module=prometheus package=github.com/prometheus/prometheus/cmd/$name tags=remove_all_sd flags="-X github.com/prometheus/common/version.Version=3.16.0" ;;
    helm) module=helm package=helm.sh/helm/v3/cmd/helm flags="-X helm.sh/helm/v3/internal/version.version=v3.22.0 $helm_flags" ;;
    kube-score) module=kube-score package=github.com/zegl/kube-score/cmd/kube-score flags="-X main.version=1.20.0" ;;
    crds) crds; continue ;;
    versitygw) module=versitygw package=github.com/versity/versitygw/cmd/versitygw flags="-X main.Version=1.8.0" ;;
    resticprofile) module=resticprofile package=github.com/creativeprojects/resticprofile ;;
    nfpm) module=nfpm package=github.com/goreleaser/nfpm/v2/cmd/nfpm flags="-X main.version=2.45.2" ;;
    *) echo "build.sh: unknown component $name" >&2; exit 2 ;;
  esac
  # KUBEBUILDER_ASSETS is the ecosystem's name for a folder of ready control-plane binaries.
  if [ -n "${KUBEBUILDER_ASSETS:-}" ] && [ -x "$KUBEBUILDER_ASSETS/$name" ]; then
    ln -sf "$KUBEBUILDER_ASSETS/$name" "$out/$name"
    continue
  fi
  stamp=$out/.$name.stamp
  want=$( { echo "$flags" ${tags:+"$tags"}; go env GOVERSION; cat "$here/$module/go.sum"; } | sha256sum | cut -d' ' -f1)
  if [ -x "$out/$name" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$want" ]; then
    continue
  fi
  began=$(date +%s)
  echo "building $name (kept in $out; the Kubernetes parts take several minutes the first time)"
  CGO_ENABLED=0 go build -C "$here/$module" -trimpath -tags "$tags" -ldflags "-s -w $flags" -o "$out/$name" "$package"
  echo "$want" >"$stamp"
  echo "built $name in $(($(date +%s) - began)) s"
done
