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

complete() { local b; for b in "${binaries[@]}"; do [ -x "$1/$b" ] || return 1; done; }

if [ -n "${KUBEBUILDER_ASSETS:-}" ]; then
  complete "$KUBEBUILDER_ASSETS" || {
    echo "KUBEBUILDER_ASSETS=$KUBEBUILDER_ASSETS does not hold all of: ${binaries[*]}. Unset it, or fill that directory." >&2
    exit 1
  }
  echo "$KUBEBUILDER_ASSETS"
  exit
fi

# shellcheck source=compile.sh
. "$here/compile.sh"
if complete "$cache"; then echo "$cache"; exit; fi

say "No control plane binaries yet: trying the release binaries of setup-envtest ..."
if downloaded=$(timeout 120 go -C "$here/../tools" tool setup-envtest use "${version#v}" --print path 2>/dev/null) && complete "$downloaded"; then
  echo "$downloaded"
  exit
fi

say "They cannot be downloaded here, so etcd $etcd_version and Kubernetes $version are built from their Go modules, once, into"
say "  $cache"
compile "$here" "$cache/etcd" go.etcd.io/etcd/server/v3 "about half a minute"
kubernetes_binary kube-apiserver "5 to 8 minutes on two cores"
kubernetes_binary kubectl "about half a minute"
echo "$cache"
