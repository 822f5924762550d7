# Sourced by assets.sh and by the cluster's scripts: where built binaries are kept, and how one gets there.
# shellcheck shell=bash
kubernetes=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
version=$(go -C "$kubernetes" list -m -f '{{.Version}}' k8s.io/kubernetes)
etcd_version=$(go -C "$kubernetes" list -m -f '{{.Version}}' go.etcd.io/etcd/server/v3)
# shellcheck disable=SC2034 # for those who source this
cache=${XDG_CACHE_HOME:-$HOME/.cache}/m2m-operator/kubernetes-$version-etcd-$etcd_version-$(go env GOOS)-$(go env GOARCH)

say() { printf '%s\n' "$*" >&2; }

# heartbeat NAME PID: says every 15 s that a long step is alive.
heartbeat() {
  local started=$SECONDS
  trap 'kill $!; exit' TERM # or the sleep would outlive it, and hold what it inherited
  while sleep 15 & wait $! && kill -0 "$2" 2>/dev/null; do say "  ... still building $1 ($((SECONDS - started)) s)"; done
}

# compile MODULE BINARY PACKAGE EXPECTATION [LDFLAGS]: nothing to do if the binary is there already.
compile() {
  [ ! -x "$2" ] || return 0
  local name=${2##*/} started=$SECONDS build beat
  say "  building $name ($4)"
  mkdir -p "${2%/*}"
  CGO_ENABLED=0 go -C "$1" build -trimpath -ldflags "-s -w ${5:-}" -o "$2.part" "$3" >&2 &
  build=$!
  heartbeat "$name" "$build" >&2 &
  beat=$!
  if ! wait "$build"; then
    kill "$beat" 2>/dev/null || :
    say "building $name failed: see the compiler's output above"
    exit 1
  fi
  kill "$beat" 2>/dev/null || :
  mv "$2.part" "$2" # complete or absent: an interrupted build leaves no half binary
  say "  built $name in $((SECONDS - started)) s"
}

# kubernetes_binary NAME EXPECTATION: into the cache, stamped with the version as a release is.
kubernetes_binary() {
  local base=k8s.io/component-base/version
  compile "$kubernetes" "$cache/$1" "k8s.io/kubernetes/cmd/$1" "$2" \
    "-X $base.gitVersion=$version -X $base.gitMajor=1 -X $base.gitMinor=$(cut -d. -f2 <<<"$version")"
}
