# docker build --tag dbtask-exporter .
# For amd64 and arm64: docker buildx build --platform linux/amd64,linux/arm64 .
FROM rust:1.95.0-bookworm AS build
WORKDIR /dbtask-exporter
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    packaging/build.sh /target \
    && packaging/image/rootfs.sh /target/release/dbtask-exporter /rootfs

# No shell, no package manager: the program, what it is linked with, and certificate authorities.
FROM scratch
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="dbtask-exporter" \
    org.opencontainers.image.description="Prometheus exporter for the long-running operations of managed cloud databases" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}"
COPY --from=build /rootfs/ /
USER 65534:65534
# One heap for all threads: a crowd of clients takes a third less memory.
ENV MALLOC_ARENA_MAX=1
EXPOSE 10118
# Only the journal is written, and only with --storage.path=/var/lib/dbtask-exporter: the root can be read-only.
VOLUME /var/lib/dbtask-exporter
ENTRYPOINT ["/usr/bin/dbtask-exporter"]
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s --retries=3 \
    CMD ["/usr/bin/dbtask-exporter", "healthcheck"]
