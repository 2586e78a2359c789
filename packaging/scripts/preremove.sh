#!/bin/sh
# deb: remove | upgrade NEW-VERSION | …; rpm: the number of versions that stay.
set -e
case $1 in
  remove | 0) ;;
  *) exit 0 ;;
esac
[ -d /run/systemd/system ] || exit 0
systemctl disable --now restic-manager-agent.service || true
