#!/usr/bin/env bash
# Prints a directory that holds etcd, kube-apiserver and kubectl, as KUBEBUILDER_ASSETS wants it.
# Progress goes to stderr; stdout is the path alone.
#
#   1. $KUBEBUILDER_ASSETS, if it is set
#   2. what an earlier run has built
#   3. the release binaries, if setup-envtest can download them
#   4. a build from the Go modules that go.mod beside this script pins (5 to 8 minutes on two cores, once)
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
binaries=(etcd kube-apiserver kubectl)

say() { printf '%s\n' "$*" >&2; }
complete() { local b; for b in "${binaries[@]}"; do [ -x "$1/$b" ] || return 1; done; }

if [ -n "${KUBEBUILDER_ASSETS:-}" ]; then
  complete "$KUBEBUILDER_ASSETS" || {
    say "KUBEBUILDER_ASSETS=$KUBEBUILDER_ASSETS does not hold all of: ${binaries[*]}. Unset it, or fill that directory."
    exit 1
  }
  echo "$KUBEBUILDER_ASSETS"
  exit
fi

version=$(go -C "$here" list -m -f '{{.Version}}' k8s.io/kubernetes)
etcd_version=$(go -C "$here" list -m -f '{{.Version}}' go.etcd.io/etcd/server/v3)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/m2m-operator/kubernetes-$version-etcd-$etcd_version-$(go env GOOS)-$(go env GOARCH)
if complete "$cache"; then echo "$cache"; exit; fi

say "No control plane binaries yet: trying the release binaries of setup-envtest ..."
if downloaded=$(timeout 120 go -C "$here/../tools" tool setup-envtest use "${version#v}" --print path 2>/dev/null) && complete "$downloaded"; then
  echo "$downloaded"
  exit
fi

say "They cannot be downloaded here, so etcd $etcd_version and Kubernetes $version are built from their Go modules, once, into"
say "  $cache"
mkdir -p "$cache"
minor=$(cut -d. -f2 <<<"$version")
stamp="-X k8s.io/component-base/version.gitVersion=$version -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=$minor"

# heartbeat NAME PID: says every 15 s that a long step is alive.
heartbeat() {
  local started=$SECONDS
  while sleep 15 && kill -0 "$2" 2>/dev/null; do say "  ... still building $1 ($((SECONDS - started)) s)"; done
}
compile() { # NAME PACKAGE EXPECTATION
  say "  building $1 ($3)"
  local started=$SECONDS beat
  CGO_ENABLED=0 go -C "$here" build -trimpath -ldflags "-s -w $stamp" -o "$cache/$1.part" "$2" >&2 &
  local build=$!
  heartbeat "$1" "$build" >&2 & beat=$!
  if ! wait "$build"; then
    kill "$beat" 2>/dev/null || :
    say "building $1 failed: see the compiler's output above"
    exit 1
  fi
  kill "$beat" 2>/dev/null || :
  mv "$cache/$1.part" "$cache/$1" # complete or absent: an interrupted build leaves no half binary
  say "  built $1 in $((SECONDS - started)) s"
}
compile etcd go.etcd.io/etcd/server/v3 "about half a minute"
compile kube-apiserver k8s.io/kubernetes/cmd/kube-apiserver "5 to 8 minutes on two cores"
compile kubectl k8s.io/kubernetes/cmd/kubectl "about half a minute"
echo "$cache"
