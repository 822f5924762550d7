# Sourced by cluster.sh: every binary, image and Debian package that the node needs.
# shellcheck shell=bash disable=SC2154 # here is cluster.sh's; cache and version are compile.sh's

# missing_packages: the Debian packages of what is not installed.
missing_packages() {
  local pair need=()
  for pair in runc:runc nft:nftables ip:iproute2 openssl:openssl ps:procps; do
    command -v "${pair%:*}" >/dev/null || need+=("${pair#*:}")
  done
  [ -x /usr/lib/cni/ptp ] || [ -x /opt/cni/bin/ptp ] || need+=(containernetworking-plugins)
  echo "${need[*]}"
}

install_packages() {
  local need
  read -ra need <<<"$(missing_packages)"
  [ ${#need[@]} -gt 0 ] || return 0
  say "installing with apt-get: ${need[*]}"
  { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${need[@]}"; } >"$cache/apt.log" 2>&1 || {
    say "apt-get could not install ${need[*]}: see $cache/apt.log"
    exit 1
  }
}

# image REF TAR BINARY: an image of one static binary, as a tarball.
image() {
  [ ! -e "$2" ] || return 0
  local dir digest name=${3##*/}
  dir=$(mktemp -d)
  mkdir "$dir/root"
  install -m 755 "$3" "$dir/root/$name"
  tar -C "$dir/root" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -cf "$dir/layer.tar" .
  digest=$(sha256sum <"$dir/layer.tar" | cut -d' ' -f1)
  printf '{"architecture":"%s","os":"linux","config":{"Entrypoint":["/%s"]},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' \
    "$(go env GOARCH)" "$name" "$digest" >"$dir/config.json"
  printf '[{"Config":"config.json","RepoTags":["%s"],"Layers":["layer.tar"]}]' "$1" >"$dir/manifest.json"
  tar -C "$dir" -cf "$2.part" manifest.json config.json layer.tar
  mv "$2.part" "$2"
  rm -r "$dir"
}

build_containerd() {
  local module=github.com/containerd/containerd/v2 binary containerd_version
  containerd_version=$(go -C "$here/containerd" list -m -f '{{.Version}}' $module)
  containerd=$cache/containerd-$containerd_version
  for binary in containerd containerd-shim-runc-v2 ctr; do
    compile "$here/containerd" "$containerd/$binary" "$module/cmd/$binary" "up to a minute" \
      "-X $module/version.Version=${containerd_version#v}"
  done
}

build_images() {
  coredns_version=$(go -C "$here/coredns" list -m -f '{{.Version}}' github.com/coredns/coredns)
  coredns=$cache/coredns-$coredns_version pause=$cache/pause-1
  compile "$here/coredns" "$coredns/coredns" . "two or three minutes"
  compile "$here/../.." "$pause/pause" ./hack/cluster/pause "a second"
  image "localhost/coredns:$coredns_version" "$coredns/coredns.tar" "$coredns/coredns"
  image localhost/pause:1 "$pause/pause.tar" "$pause/pause"
}

# build sets assets, cache, containerd, coredns, coredns_version and pause: where things are.
build() {
  # shellcheck source=../kubernetes/compile.sh
  . "$here/../kubernetes/compile.sh"
  mkdir -p "$cache"
  exec 8>"$cache/.lock" # who comes second waits, and finds everything built
  flock 8
  [ "$EUID" != 0 ] || install_packages
  # shellcheck disable=SC2034 # What KUBEBUILDER_ASSETS holds may be of another version than the kubelet.
  assets=$(env -u KUBEBUILDER_ASSETS "$here/../kubernetes/assets.sh")
  kubernetes_binary kube-controller-manager "about two minutes"
  kubernetes_binary kube-scheduler "half a minute"
  kubernetes_binary kubelet "about a minute"
  kubernetes_binary kube-proxy "half a minute"
  build_containerd
  build_images
  exec 8>&-
}
