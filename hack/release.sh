#!/usr/bin/env bash
# release.sh DIRECTORY: everything that a release consists of. From VERSION, CHART_VERSION, CREATED, RELEASE_IMAGE, ARCHES and PLATFORMS,
# which the Makefile sets; the same commit and Go give the same bytes, wherever the checkout is.
set -euo pipefail
cd "$(dirname "$0")/.."
out=$(mkdir -p "$1" && cd "$1" && pwd)
rm -rf "${out:?}"/*
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
release() { go -C hack/release run . "$@"; }
ldflags="-s -w -X github.com/m2m-operator/m2m-operator/internal/version.Version=$VERSION"

echo "-- image $RELEASE_IMAGE:$VERSION for $ARCHES"
make image BIN="$work" IMAGE="$RELEASE_IMAGE:$VERSION" >/dev/null
image=$(find "$work" -name 'm2m-operator.oci.tar')
[ -n "$image" ] || image=$(find "$work" -maxdepth 1 -name 'm2m-operator-*.tar')
cp "$image" "$out/m2m-operator-$VERSION.$([[ $image = *.oci.tar ]] && echo oci.tar || echo docker.tar)"

binaries=()
for arch in $ARCHES; do
  for command in manager issuer; do
    binary=$work/linux-$arch/m2m-$command
    release archive -created "$CREATED" -o "$out/m2m-$command-$VERSION-linux-$arch.tar.gz" "$binary" "$PWD/LICENSE"
    binaries+=("$binary")
  done
done
for platform in $PLATFORMS; do
  echo "-- kubectl-m2m for $platform"
  os=${platform%/*} arch=${platform#*/} suffix=tar.gz exe=
  [ "$os" != windows ] || { suffix=zip exe=.exe; }
  binary=$work/$os-$arch/kubectl-m2m$exe
  CGO_ENABLED=0 GOOS=$os GOARCH=$arch go build -buildvcs=false -trimpath -ldflags "$ldflags" -o "$binary" ./cmd/kubectl-m2m
  release archive -created "$CREATED" -o "$out/kubectl-m2m-$VERSION-$os-$arch.$suffix" "$binary" "$PWD/LICENSE"
  binaries+=("$binary")
done

echo "-- chart $CHART_VERSION, manifests, SBOM, checksums"
go -C hack/helm run . package -version "$CHART_VERSION" -app-version "$VERSION" -repository "$RELEASE_IMAGE" -o "$out" >/dev/null
go -C hack/tools tool kustomize build "$PWD/config/default" |
  sed "s#image: localhost/m2m-operator:dev#image: $RELEASE_IMAGE:$VERSION#" >"$out/install-$VERSION.yaml"
grep -q "image: $RELEASE_IMAGE:$VERSION\$" "$out/install-$VERSION.yaml"
release sbom -created "$CREATED" -version "$VERSION" -o "$out/m2m-operator-$VERSION.cdx.json" "${binaries[@]}"
release checksums -o "$out/SHA256SUMS" "$out"
