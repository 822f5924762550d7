# Sourced by cluster.sh: cgroups, and whether this machine can run the cluster at all.
# shellcheck shell=bash

cgroup_v2() { [ "$(stat -f -c %T /sys/fs/cgroup)" = cgroup2fs ]; }

# cgroups NAME: that cgroup's directory, in each hierarchy of version 1 or in the one of version 2.
cgroups() {
  if cgroup_v2; then echo "/sys/fs/cgroup/$1"; return; fi
  local dir
  for dir in /sys/fs/cgroup/*/; do echo "$dir$1"; done
}

# make_cgroups NAME: with the controllers that the kubelet asks for.
make_cgroups() {
  local dir file controller
  if cgroup_v2; then
    for controller in cpu cpuset memory pids io hugetlb; do
      { echo "+$controller" >/sys/fs/cgroup/cgroup.subtree_control; } 2>/dev/null || :
    done
    mkdir -p "/sys/fs/cgroup/$1"
    return
  fi
  for dir in $(cgroups "$1"); do
    mkdir -p "$dir" || return 1
    [ -e "$dir/cpuset.cpus" ] || continue
    for file in cpuset.cpus cpuset.mems; do cat "${dir%/*}/$file" >"$dir/$file"; done
  done
}

# remove_cgroups NAME: tried again while the kernel still buries what ran there.
remove_cgroups() {
  local dir
  for dir in $(cgroups "$1"); do
    [ ! -d "$dir" ] || until_ok 20 find "$dir" -depth -type d -exec rmdir {} + || return 1
  done
}

cgroups_usable() {
  local probe=m2m-cluster-probe-$$ controllers controller
  make_cgroups "$probe" 2>/dev/null || return 1
  controllers=$(if cgroup_v2; then cat "/sys/fs/cgroup/$probe/cgroup.controllers"; else cd /sys/fs/cgroup && echo *; fi)
  remove_cgroups "$probe"
  for controller in cpu cpuset memory pids; do [[ " $controllers " == *" $controller "* ]] || return 1; done
}

overlay_usable() {
  unshare --mount sh -c 'mount -t tmpfs tmpfs /mnt && mkdir /mnt/lower /mnt/upper /mnt/work /mnt/merged &&
    mount -t overlay overlay -o lowerdir=/mnt/lower,upperdir=/mnt/upper,workdir=/mnt/work /mnt/merged' 2>/dev/null
}

network_usable() {
  unshare --net ip link add left type veth peer name right 2>/dev/null && unshare --net nft add table inet probe 2>/dev/null
}

# unsupported: in one line, why this machine cannot run the cluster; nothing if it can.
unsupported() {
  [ "$(uname -s)" = Linux ] || { echo "it needs Linux"; return; }
  [ "$EUID" = 0 ] || { echo "it needs root"; return; }
  local packages
  packages=$(missing_packages)
  [ -z "$packages" ] || command -v apt-get >/dev/null || { echo "not installed, and there is no apt-get to install it: $packages"; return; }
  [ -r /dev/kmsg ] || { echo "the kubelet cannot read /dev/kmsg"; return; }
  unshare --mount --net --pid --uts --ipc --fork --mount-proc true 2>/dev/null || { echo "namespaces cannot be created"; return; }
  cgroups_usable || { echo "cgroups with the controllers cpu, cpuset, memory and pids cannot be created"; return; }
  overlay_usable || { echo "overlay filesystems cannot be mounted"; return; }
  [ -n "$packages" ] || network_usable || { echo "veth links or nftables tables cannot be created"; return; }
}
