#!/usr/bin/env bash
# Process 1 of the node's namespaces, started by cluster.sh: node.sh NUMBER, with the node's addresses in its environment.
# /mnt/state is the state directory; /mnt/assets, /mnt/cache and /mnt/containerd hold the binaries.
# shellcheck disable=SC2054,SC2206,SC2207 # in the flags commas are meant, and no word holds a space
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
umask 022 # or no image's files could be read by a user who is not root
pki=/mnt/state/pki

# keep NAME COMMAND...: restarts what ends.
keep() {
  local name=$1
  shift
  (while :; do "$@" || echo "ended: $?"; sleep 1; done >>"/var/log/$name.log" 2>&1) &
}

mounts() {
  mount --make-rshared / # private to this mount namespace, shared with the pods
  mount -t tmpfs tmpfs /var/lib
  mount -t tmpfs tmpfs /run
  mount --bind /mnt/state/log /var/log
  # The kubelet would set these for the whole machine.
  local setting
  for setting in vm/overcommit_memory=1 kernel/panic=10 kernel/panic_on_oops=1 kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
    echo "${setting#*=}" >"/run/${setting//\//-}"
    mount --bind "/run/${setting//\//-}" "/proc/sys/${setting%=*}"
  done
}

network() {
  hostname node1
  ip link set lo up
  until_ok 10 ip link show uplink
  ip addr add "$NODE_IP/30" dev uplink
  ip link set uplink up
  ip route add "$SERVICES" via "$HOST_IP" # never taken: kube-proxy rewrites the address first
  echo 1 >/proc/sys/net/ipv4/ip_forward
  # The machine dials the node; the node and its pods dial neither the machine nor anything beyond it.
  nft add table inet cluster
  nft add chain inet cluster out '{ type filter hook postrouting priority 0; }'
  nft add rule inet cluster out oifname uplink ct state new drop
}

etcd_flags=(
  --data-dir /var/lib/etcd --unsafe-no-fsync
  --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 --listen-peer-urls http://127.0.0.1:2380
)
apiserver_flags=(
  --etcd-servers http://127.0.0.1:2379
  --bind-address "$NODE_IP" --advertise-address "$NODE_IP" --service-cluster-ip-range "$SERVICES"
  --authorization-mode Node,RBAC --enable-admission-plugins NodeRestriction --allow-privileged
  --client-ca-file $pki/ca.crt --tls-cert-file $pki/apiserver.crt --tls-private-key-file $pki/apiserver.key
  --kubelet-certificate-authority $pki/ca.crt --kubelet-preferred-address-types InternalIP
  --kubelet-client-certificate $pki/apiserver-kubelet-client.crt --kubelet-client-key $pki/apiserver-kubelet-client.key
  --service-account-issuer https://kubernetes.default.svc.cluster.local
  --service-account-key-file $pki/sa.key --service-account-signing-key-file $pki/sa.key
  --requestheader-client-ca-file $pki/front-proxy-ca.crt --requestheader-allowed-names front-proxy-client
  --requestheader-username-headers X-Remote-User --requestheader-group-headers X-Remote-Group
  --requestheader-extra-headers-prefix X-Remote-Extra-
  --proxy-client-cert-file $pki/front-proxy-client.crt --proxy-client-key-file $pki/front-proxy-client.key
)
kubeconfig_flags() { echo --kubeconfig "$1" --authentication-kubeconfig "$1" --authorization-kubeconfig "$1"; }
controller_manager_flags=(
  $(kubeconfig_flags /mnt/state/controller-manager.kubeconfig)
  --bind-address 127.0.0.1 --leader-elect=false --use-service-account-credentials
  --service-account-private-key-file $pki/sa.key --root-ca-file $pki/ca.crt
  --cluster-signing-cert-file $pki/ca.crt --cluster-signing-key-file $pki/ca.key
  --allocate-node-cidrs --cluster-cidr "$PODS" --node-cidr-mask-size 24
  --kube-api-qps 200 --kube-api-burst 400 # its start and the deletion of a namespace are many small calls
  --flex-volume-plugin-dir /var/lib/kubelet/volumeplugins
)
scheduler_flags=(
  $(kubeconfig_flags /mnt/state/scheduler.kubeconfig)
  --bind-address 127.0.0.1 --leader-elect=false
)

mounts
network
keep etcd etcd "${etcd_flags[@]}"
keep kube-apiserver kube-apiserver "${apiserver_flags[@]}"
keep containerd containerd --config /mnt/state/etc/containerd.toml
until_ok 180 kubectl --kubeconfig /mnt/state/admin.kubeconfig get --raw /readyz
keep kube-controller-manager kube-controller-manager "${controller_manager_flags[@]}"
keep kube-scheduler kube-scheduler "${scheduler_flags[@]}"
keep kubelet kubelet --config /mnt/state/etc/kubelet.yaml --kubeconfig /mnt/state/kubelet.kubeconfig --hostname-override node1 --node-ip "$NODE_IP"
keep kube-proxy kube-proxy --config /mnt/state/etc/kube-proxy.yaml
wait
