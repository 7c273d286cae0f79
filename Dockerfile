# The exporter alone, without a shell:
#
#   docker build --build-arg VERSION=1.0.0 --build-arg REVISION=$(git rev-parse HEAD) -t consul_cluster_exporter .
#
# Both images are pinned by digest; the tag is for the reader. All architectures that they have can be built without emulation.

FROM --platform=$BUILDPLATFORM golang:1.26.8-bookworm@sha256:dc9ad6c05acc7a88e5b71bde60a5fe3bd4b9f0db209011711b464107438a8107 AS build
WORKDIR /src
# A layer of its own, which stays until the dependencies change.
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG TARGETOS
ARG TARGETARCH
ARG VERSION=unknown
ARG REVISION=unknown
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build -trimpath \
    -ldflags "-s -w -X github.com/prometheus/common/version.Version=$VERSION -X github.com/prometheus/common/version.Revision=$REVISION" \
    -o /out/consul_cluster_exporter . \
    # The name that charts for prom/consul-exporter call.
    && ln -s consul_cluster_exporter /out/consul_exporter

# Nothing but the public certificate authorities, time zones and an empty /tmp.
FROM gcr.io/distroless/static-debian12:nonroot@sha256:d093aa3e30dbadd3efe1310db061a14da60299baff8450a17fe0ccc514a16639
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="consul_cluster_exporter" \
      org.opencontainers.image.description="Prometheus exporter for HashiCorp Consul clusters: asks every server on its own ports." \
      org.opencontainers.image.url="https://github.com/zervigo/consul_cluster_exporter" \
      org.opencontainers.image.source="https://github.com/zervigo/consul_cluster_exporter" \
      org.opencontainers.image.documentation="https://github.com/zervigo/consul_cluster_exporter#readme" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
# The folder, because a link that is copied alone becomes a second copy of the program.
COPY --from=build /out/ /bin/
# The image's own user, as a number: Kubernetes's runAsNonRoot cannot look up a name.
USER 65532:65532
EXPOSE 9107
# With another --web.listen-address, or TLS, set CONSUL_CLUSTER_EXPORTER_URL to the URL to ask. Kubernetes has probes of its own.
HEALTHCHECK --interval=30s --timeout=6s --start-period=5s CMD ["/bin/consul_cluster_exporter", "healthcheck"]
ENTRYPOINT ["/bin/consul_cluster_exporter"]
