#!/bin/sh
# deb: configure [OLD-VERSION]; rpm: the number of installed versions.
set -e
for dir in /etc/restic-manager /var/lib/restic-manager; do
  [ -d "$dir" ] || install -d -m 0700 -o root -g root "$dir"
done

# Without systemd as PID 1 (a container, a chroot) there is nothing to tell.
[ -d /run/systemd/system ] || exit 0
systemctl daemon-reload || true
# An agent that runs goes on as the new version; one that does not run, is not started: it may not be enrolled, or be stopped on purpose.
case $1 in
  configure) [ -n "${2:-}" ] || exit 0 ;;
  [01]) exit 0 ;;
esac
systemctl try-restart restic-manager-agent.service || true
