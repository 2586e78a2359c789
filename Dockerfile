# The same image as make image builds without Docker: controllers, gateway, and what the gateway hands to machines.
#   docker buildx build --platform linux/amd64,linux/arm64 --build-arg VERSION=$(git describe --tags) --build-arg SOURCE_DATE_EPOCH=$(git log -1 --format=%ct) .
FROM --platform=$BUILDPLATFORM golang:1.26 AS build
ARG VERSION=dev SOURCE_DATE_EPOCH=0 TARGETARCH
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    make install-artifacts VERSION=$VERSION && \
    IMAGE_ARCHS=$TARGETARCH VERSION=$VERSION hack/release/image.sh && \
    mkdir /root-of-image && cp -R dist/image/shared/. dist/image/$TARGETARCH/. /root-of-image/ && chmod -R a-w,a+rX /root-of-image

FROM scratch
ARG VERSION=dev
LABEL org.opencontainers.image.title=restic-manager org.opencontainers.image.source=https://github.com/restic-manager/restic-manager \
      org.opencontainers.image.licenses=Apache-2.0 org.opencontainers.image.version=$VERSION
COPY --from=build /root-of-image/ /
USER 65532:65532
