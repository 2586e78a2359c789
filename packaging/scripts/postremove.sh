#!/bin/sh
# deb: remove | purge | upgrade | …; rpm: the number of versions that stay. What the agent wrote stays but for purge: the password of a repository
# may be there alone. rpm has no purge: remove /etc/restic-manager and /var/lib/restic-manager by hand.
set -e
if [ "$1" = purge ]; then
  rm -rf /etc/restic-manager /var/lib/restic-manager
fi
[ -d /run/systemd/system ] || exit 0
case $1 in
  remove | purge | 0) systemctl daemon-reload || true ;;
esac
