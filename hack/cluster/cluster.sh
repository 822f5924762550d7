#!/usr/bin/env bash
# A real single-node Kubernetes cluster, on this machine only. README.md beside this script says what it is and is not.
#
#   cluster.sh supported        can this machine run it? (one line says why not)
#   cluster.sh build            every binary and image, built once and cached; up does it too
#   cluster.sh up | down        a fresh cluster, ready when it returns | nothing is left
#   cluster.sh load-image TAR   give the node the images of a tarball
#   cluster.sh kubeconfig       print the administrator's kubeconfig
#   cluster.sh ps               the node's processes and their resident memory
#   cluster.sh in CMD...        run a command beside the node's processes
#
# SYNC=5s: how often the kubelet looks at each pod again, which bounds when a mounted volume shows a changed Secret.
set -euo pipefail
export LC_ALL=C PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
here=$(dirname "$(realpath "$0")")
state=$(dirname "$(dirname "$here")")/bin/cluster
node_path=/mnt/assets:/mnt/cache:/mnt/containerd:$PATH
export KUBECONFIG=$state/admin.kubeconfig NO_PROXY=${NO_PROXY:+$NO_PROXY,}198.18.0.0/15
# shellcheck source=lib.sh
. "$here/lib.sh"
# shellcheck source=build.sh
. "$here/build.sh"
# shellcheck source=state.sh
. "$here/state.sh"
# shellcheck source=machine.sh
. "$here/machine.sh"

# timed MESSAGE: since started.
timed() {
  local tenths=$(((${EPOCHREALTIME/./} - started) / 100000))
  printf '%3d.%d s  %s\n' $((tenths / 10)) $((tenths % 10)) "$*" >&2
}

# find_node: sets pid and number to those of this checkout's node. Its command line tells, and outlives the state directory.
find_node() {
  local candidate line
  for candidate in $(pgrep -f node.sh); do
    line=$({ tr '\0' ' ' <"/proc/$candidate/cmdline"; } 2>/dev/null) || continue
    [[ $line == "bash $here/node.sh "* ]] || continue
    grep -q '^NSpid:.*[[:space:]]1$' "/proc/$candidate/status" 2>/dev/null || continue # a child looks the same, but for this
    pid=$candidate
    number=${line#"bash $here/node.sh "} number=${number% }
    return
  done
  return 1
}

# claim_number: the first of the machine's clusters that is free, claimed by the link to it.
claim_number() {
  for number in {0..63}; do
    if ip link add "m2m$number" type veth peer name "m2m$number-node" 2>/dev/null; then echo "$number" >"$state/number"; return; fi
  done
  echo "none of the links m2m0 to m2m63 could be created" >&2
  return 1
}

# addresses: 198.18.0.0/15 is reserved for tests (RFC 2544), so that nothing the machine talks to is there.
addresses() {
  HOST_IP=198.18.$number.1 NODE_IP=198.18.$number.2 PODS=198.19.$number.0/24
  SERVICES=198.18.$number.128/25 API_SERVICE_IP=198.18.$number.129 DNS_IP=198.18.$number.138
}

# start_node: what it needs of the machine's directories is bound into /mnt, where none of its own mounts hides it.
start_node() {
  # shellcheck disable=SC2016 # the shell inside expands them
  setsid unshare --mount --net --pid --uts --ipc --fork --mount-proc \
    env -i HOME=/root PATH="$node_path" HOST_IP="$HOST_IP" NODE_IP="$NODE_IP" PODS="$PODS" SERVICES="$SERVICES" \
    bash -euc 'mount -t tmpfs tmpfs /mnt
      for name in state assets cache containerd; do mkdir "/mnt/$name"; mount --bind "$1" "/mnt/$name"; shift; done
      cd /; exec bash "$@"' - "$state" "$assets" "$cache" "$containerd" "$here/node.sh" "$number" \
    >"$state/log/node.log" 2>&1 </dev/null 9>&- &
  until_ok 10 find_node
  find_node
}

connect() {
  ip link set "m2m$number-node" netns "$pid" name uplink
  ip addr add "$HOST_IP/30" dev "m2m$number"
  ip link set "m2m$number" up
  ip route add "$PODS" via "$NODE_IP"
  ip route add "$SERVICES" via "$NODE_IP"
}

inside() {
  find_node || { echo "the cluster is not up" >&2; return 1; }
  KUBECONFIG=/mnt/state/admin.kubeconfig PATH=$node_path nsenter --target "$pid" --mount --net --pid --uts --ipc "$@"
}

# load_image TAR
load_image() {
  local output
  inside true
  until_ok 20 inside ctr version
  output=$(inside ctr --namespace k8s.io images import - <"$1" 2>&1) || { echo "$output" >&2; return 1; }
}

# processes: but for the shells that keep them running.
processes() {
  inside ps -eo rss,args --sort=-rss | awk 'NR > 1 {
    name = $2; sub(".*/", "", name)
    if (name !~ /^(bash|ps|sleep)$/) printf "%6.1f MiB  %s\n", $1 / 1024, name
  }'
}

start_dns() {
  load_image "$pause/pause.tar"
  load_image "$coredns/coredns.tar"
  "$assets/kubectl" apply -f "$state/etc/coredns.yaml" >/dev/null
}

await_ready() {
  local kubectl=$assets/kubectl
  until_ok 60 "$kubectl" get node node1
  "$kubectl" wait --for=condition=Ready node/node1 --timeout=180s >/dev/null
  timed "node ready"
  until_ok 60 "$kubectl" get serviceaccount default
  "$kubectl" -n kube-system rollout status deployment/coredns --timeout=180s >/dev/null
}

require_support() {
  local reason
  reason=$(unsupported)
  [ -z "$reason" ] || { echo "This machine cannot run the cluster: $reason." >&2; return 1; }
}

up() {
  require_support
  lock
  if find_node && [ -e "$state/ready" ]; then echo "The cluster is up already." >&2; return; fi
  build
  remove
  trap 'echo "The cluster did not come up: see the logs in $state/log" >&2' EXIT
  started=${EPOCHREALTIME/./}
  (umask 077 && mkdir -p "$state") # keys are in there
  mkdir "$state/log"
  claim_number
  addresses
  write_keys
  write_configs
  make_cgroups "m2m-cluster-$number"
  timed "keys and configuration written"
  start_node
  connect
  until_ok 180 "$assets/kubectl" get --raw /readyz
  timed "API server ready"
  start_dns
  timed "images loaded"
  await_ready
  touch "$state/ready"
  trap - EXIT
  timed "DNS ready: export KUBECONFIG=$KUBECONFIG"
}

# remove: the end of process 1 is that of every other, of their mounts, firewall and link; the cgroups are left to remove.
remove() {
  if find_node; then
    kill -9 "$pid"
    until_ok 30 test ! -e "/proc/$pid"
  else
    number=$(cat "$state/number" 2>/dev/null || :)
  fi
  if [ -n "$number" ]; then
    ip link delete "m2m$number" 2>/dev/null || :
    remove_cgroups "m2m-cluster-$number"
  fi
  rm -rf --one-file-system "$state"
}

# lock: one up or down of this checkout at a time.
lock() {
  mkdir -p "${state%/*}"
  exec 9>"$state.lock"
  flock 9
}

case ${1:-} in
  supported) require_support ;;
  build) build ;;
  up) up ;;
  down) lock; remove ;;
  load-image) load_image "$2" ;;
  kubeconfig) cat "$KUBECONFIG" ;;
  ps) processes ;;
  in) inside "${@:2}" ;;
  *) sed -n '2,13s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
