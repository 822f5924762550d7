#!/usr/bin/env bash
# previous-binaries.sh DIRECTORY: manager and issuer of the previous commit, to upgrade from. Where there is none, or it
# does not build, it says so, and the present ones in $2 stand in: an upgrade of the image's name alone.
set -euo pipefail
cd "$(dirname "$0")/.."
out=$1 present=$2 tree=$PWD/bin/previous

remove_tree() { git worktree remove --force "$tree" 2>/dev/null || rm -rf "$tree"; git worktree prune; }
build() {
  local command
  for command in manager issuer; do
    (cd "$tree" && CGO_ENABLED=0 GOOS=linux go build -buildvcs=false -trimpath \
      -ldflags "-s -w -X github.com/m2m-operator/m2m-operator/internal/version.Version=previous" \
      -o "$out/m2m-$command" "./cmd/$command") || return 1
  done
}

remove_tree
mkdir -p "$out"
if git worktree add --quiet --detach "$tree" HEAD~1 2>/dev/null && build; then
  echo "to upgrade from: $(git -C "$tree" log -1 --format='%h %s')"
else
  echo "no previous commit to upgrade from: the present binaries stand in for it"
  cp "$present"/m2m-manager "$present"/m2m-issuer "$out/"
fi
remove_tree
