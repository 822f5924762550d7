# Sourced by cluster.sh: what a fresh cluster is given, keys, kubeconfigs and configuration files.
# shellcheck shell=bash disable=SC2154 # the addresses, number and versions are set by cluster.sh and build.sh

# key NAME OPTION...: a private key and a certificate over it.
key() {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 365 -config "$state/pki/openssl.cnf" \
    -keyout "$state/pki/$1.key" -out "$state/pki/$1.crt" "${@:2}" 2>>"$state/log/openssl.log"
}
authority() { key "$1" -subj "/CN=$1" -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign,digitalSignature; }

# certificate NAME SUBJECT AUTHORITY [ALTERNATIVE-NAMES]
certificate() {
  key "$1" -subj "$2" -CA "$state/pki/$3.crt" -CAkey "$state/pki/$3.key" -addext basicConstraints=critical,CA:FALSE \
    -addext extendedKeyUsage=clientAuth,serverAuth ${4:+-addext "subjectAltName=$4"}
}

# kubeconfig NAME SUBJECT: a client certificate, and the kubeconfig that holds it.
kubeconfig() {
  certificate "$1" "$2" ca
  cat >"$state/$1.kubeconfig" <<YAML
apiVersion: v1
kind: Config
clusters:
- {name: m2m, cluster: {server: "https://$NODE_IP:6443", certificate-authority-data: $(base64 -w0 "$state/pki/ca.crt")}}
users:
- {name: $1, user: {client-certificate-data: $(base64 -w0 "$state/pki/$1.crt"), client-key-data: $(base64 -w0 "$state/pki/$1.key")}}
contexts:
- {name: m2m, context: {cluster: m2m, user: $1}}
current-context: m2m
YAML
}

write_keys() {
  mkdir -p "$state/pki"
  printf '[req]\ndistinguished_name = d\n[d]\n' >"$state/pki/openssl.cnf"
  authority ca
  authority front-proxy-ca
  openssl genrsa -out "$state/pki/sa.key" 2048 2>>"$state/log/openssl.log"
  local names=DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local,DNS:localhost
  certificate apiserver /CN=kube-apiserver ca "$names,IP:127.0.0.1,IP:$NODE_IP,IP:$API_SERVICE_IP"
  certificate kubelet-serving /O=system:nodes/CN=system:node:node1 ca "DNS:node1,IP:$NODE_IP"
  certificate apiserver-kubelet-client /O=system:masters/CN=kube-apiserver-kubelet-client ca
  certificate front-proxy-client /CN=front-proxy-client front-proxy-ca
  kubeconfig admin /O=system:masters/CN=admin
  kubeconfig controller-manager /CN=system:kube-controller-manager
  kubeconfig scheduler /CN=system:kube-scheduler
  kubeconfig kube-proxy /CN=system:kube-proxy
  kubeconfig kubelet /O=system:nodes/CN=system:node:node1
}

write_configs() {
  local file
  mkdir -p "$state/etc/cni"
  : >"$state/etc/resolv.conf"
  for file in "$here"/etc/*; do
    sed -e "s#@NODE_IP@#$NODE_IP#g" -e "s#@PODS@#$PODS#g" -e "s#@DNS_IP@#$DNS_IP#g" -e "s#@CGROUP@#/m2m-cluster-$number#g" \
      -e "s#@SYNC@#${SYNC:-5s}#g" -e "s#@COREDNS@#$coredns_version#g" "$file" >"$state/etc/${file##*/}"
  done
  mv "$state/etc/cni.conflist" "$state/etc/cni/10-ptp.conflist"
}
