# The image as `make image` packs it, for those who build with BuildKit. `make image` needs no container engine.
#
#   docker build --build-arg VERSION="$(git describe --tags --always --dirty)" \
#       --build-arg REVISION="$(git rev-parse HEAD)" -t localhost/m2m-operator:v1.2.3 .
FROM --platform=$BUILDPLATFORM golang:1.26.8 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG TARGETOS TARGETARCH VERSION=dev
RUN for command in manager issuer; do \
      CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build -buildvcs=false -trimpath \
        -ldflags "-s -w -X github.com/m2m-operator/m2m-operator/internal/version.Version=$VERSION" \
        -o /out/m2m-$command ./cmd/$command || exit 1; \
    done

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/m2m-manager /m2m-manager
COPY --from=build /out/m2m-issuer /m2m-issuer
ARG VERSION=dev REVISION=
LABEL org.opencontainers.image.title="m2m-operator" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.source="https://github.com/m2m-operator/m2m-operator" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="$REVISION"
WORKDIR /
USER 65532:65532
ENTRYPOINT ["/m2m-manager"]
