#!/usr/bin/env bash
# Installs the tools that tests of packages and machines call, on Debian and its kin, unless they are there. Needs root.
# usage: debian-tools.sh TOOL…
set -euo pipefail
packages=()
for tool in "$@"; do
  command -v "$tool" >/dev/null && continue
  case $tool in
    systemd-analyze | systemctl) packages+=(systemd) ;;
    rpm2cpio) packages+=(rpm) ;;
    nsenter | unshare | setpriv) packages+=(util-linux) ;;
    *) packages+=("$tool") ;;
  esac
done
[ ${#packages[@]} -gt 0 ] || exit 0
export DEBIAN_FRONTEND=noninteractive
apt-get install -y -q --no-install-recommends "${packages[@]}" || { apt-get update -q && apt-get install -y -q --no-install-recommends "${packages[@]}"; }
