#!/usr/bin/env bash
# Releases twice, here and from a copy of the tree elsewhere, and compares what comes out byte by byte.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/copy"
tar --exclude=./bin --exclude=./dist --exclude=./.git -cf - . | tar -xf - -C "$work/copy"
hack/release.sh "$work/first"
(cd "$work/copy" && hack/release.sh "$work/second" >/dev/null)
diff -r "$work/first" "$work/second"
(cd "$work/first" && sha256sum --check --quiet SHA256SUMS && wc -c ./* | sed '$d')
echo "The same bytes twice."
