#!/usr/bin/env bash
# Boots this computer's own systemd as PID 1 of a machine of its own: namespaces for mounts, processes, names and control groups; a root that shows this
# computer's files and keeps what is written to it in memory. The network is this computer's. Needs root.
# usage: boot.sh FOLDER     (an empty one; FOLDER/pid gets the id of PID 1 as it is outside)
set -euo pipefail
dir=$1 stage=${2:-outside}
case $stage in
outside)
  exec unshare --mount --propagation private -- "$0" "$dir" group
  ;;
group)
  # A control group of its own, and nothing outside of it: the machine's systemd would else arrange this computer's processes.
  mkdir "$dir/cgroup" "$dir/memory"
  mount -t cgroup2 cgroup2 "$dir/cgroup"
  group=$dir/cgroup$(sed -n 's/^0:://p' /proc/self/cgroup)/restic-manager-machine-$$
  mkdir "$group"
  leave() {
    for _ in $(seq 50); do
      find "$group" -depth -type d -exec rmdir {} + 2>/dev/null && break
      sleep 0.1
    done
  }
  trap 'kill -KILL "$child" 2>/dev/null || true' TERM INT
  trap leave EXIT
  # shellcheck disable=SC2016 # the inner shell is the one that joins the group
  setpriv --pdeathsig KILL -- bash -c 'echo $$ >"$1/cgroup.procs"; exec unshare --pid --fork --kill-child --ipc --uts --cgroup --mount --propagation private -- "$2" "$3" inside' \
    bash "$group" "$0" "$dir" &
  child=$!
  wait "$child" || true
  ;;
inside)
  read -r outside _ </proc/self/stat # the process ids are still those of outside here
  mount -t tmpfs -o size=2g tmpfs "$dir/memory"
  mkdir "$dir/memory/upper" "$dir/memory/work" "$dir/memory/root"
  mount -t overlay -o "lowerdir=/,upperdir=$dir/memory/upper,workdir=$dir/memory/work" overlay "$dir/memory/root"
  cd "$dir/memory/root"
  mount -t proc proc proc
  mount -t sysfs sysfs sys
  # The folder of devices is shared with this computer, what is mounted in it is not.
  mount -t devtmpfs devtmpfs dev
  mount -t devpts -o newinstance,ptmxmode=0666,mode=0620,gid=5 devpts dev/pts
  mount -t tmpfs tmpfs dev/shm
  for fresh in run tmp; do mount -t tmpfs tmpfs $fresh; done
  chmod 1777 tmp
  # Nothing of this computer's own services.
  find etc/systemd/system -mindepth 1 -delete
  : >etc/fstab
  printf '[Unit]\nDescription=A machine of a test\nRequires=basic.target\n' >etc/systemd/system/machine.target
  for unit in systemd-binfmt systemd-boot-system-token systemd-firstboot systemd-hwdb-update systemd-journal-flush systemd-modules-load systemd-pstore \
    systemd-random-seed systemd-remount-fs systemd-resolved systemd-sysctl systemd-tmpfiles-setup-dev systemd-udev-trigger systemd-udevd \
    systemd-update-utmp kmod-static-nodes; do ln -s /dev/null etc/systemd/system/$unit.service; done
  for unit in dev-hugepages dev-mqueue proc-sys-fs-binfmt_misc sys-fs-fuse-connections sys-kernel-config sys-kernel-debug sys-kernel-tracing; do
    ln -s /dev/null etc/systemd/system/$unit.mount
  done
  rm -rf etc/restic-manager var/lib/restic-manager usr/bin/restic-manager-agent
  # What the line of an enrolment calls. Here whoever pastes it is root already.
  printf '#!/bin/sh\nexec "$@"\n' >usr/local/bin/sudo
  chmod 0755 usr/local/bin/sudo
  hostname machine
  echo "$outside" >"$dir/pid.new"
  mv "$dir/pid.new" "$dir/pid"
  exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin container=other SYSTEMD_PROC_CMDLINE=systemd.unified_cgroup_hierarchy=1 \
    chroot . /lib/systemd/systemd --system --unit=machine.target --log-target=console --log-level=warning --show-status=no
  ;;
esac
