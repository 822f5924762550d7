#!/usr/bin/env bash
# kube-score over what an installation consists of: config/default as rendered, and what the manager deploys.
#
# Waived, and why:
#   container-image-pull-policy             a tag names one image for good, and a preloaded image must not be pulled
#   CPU limits                              a throttled token server is a slow one; memory is limited
#   container-ephemeral-storage-request-and-limit   the root file system is read-only and nothing is mounted to write to
#   deployment-has-host-podantiaffinity     topologySpreadConstraints do the same for nodes and zones
set -euo pipefail
cd "$(dirname "$0")/../.."
rendered() {
  go -C hack/tools tool kustomize build "$PWD/config/default"
  for golden in deployment service pod-disruption-budget; do
    echo ---
    cat "internal/manifests/workload/testdata/$golden.yaml"
  done
}
verdicts=$(rendered | go -C hack/kubescore tool kube-score score - --output-format ci --exit-one-on-warning \
  --ignore-container-cpu-limit \
  --ignore-test container-image-pull-policy \
  --ignore-test container-ephemeral-storage-request-and-limit \
  --ignore-test deployment-has-host-podantiaffinity) || { grep -v '^\[OK\]\|^\[SKIPPED\]' <<<"$verdicts" >&2; exit 1; }
