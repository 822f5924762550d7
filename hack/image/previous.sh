#!/usr/bin/env bash
# previous.sh REFERENCE TARBALL: the image of the previous commit, to upgrade from. Without a previous commit, or one that
# cannot be packed, it says so and packs the present one under the other name: an upgrade of the reference alone.
set -euo pipefail
cd "$(dirname "$0")/../.."
reference=$1 tarball=$2 arch=$(go env GOARCH)
tree=$PWD/bin/previous

pack() { make -C "$1" image ARCHES="$arch" IMAGE="$reference" BIN="$2" >&2; }

git worktree remove --force "$tree" 2>/dev/null || rm -rf "$tree"
git worktree prune
if git worktree add --quiet --detach "$tree" HEAD~1 2>/dev/null && pack "$tree" "$tree/bin"; then
  mv "$tree/bin/m2m-operator-$arch.tar" "$tarball"
else
  echo "no image of a previous commit: the present one stands in for it" >&2
  pack "$PWD" "$PWD/bin/stand-in"
  mv "bin/stand-in/m2m-operator-$arch.tar" "$tarball"
fi
git worktree remove --force "$tree" 2>/dev/null || rm -rf "$tree"
