# syntax=docker/dockerfile:1
# Image with a static binary, without shell and package manager. Set the revision that `--version` prints with
# `docker build --build-arg REVISION=$(git rev-parse --short=12 HEAD) .`

FROM rust:1.90.0-alpine3.22 AS build
# hadolint ignore=DL3018 # Alpine deletes old package versions, so that a pinned version would soon be missing
RUN apk add --no-cache ca-certificates musl-dev
WORKDIR /src
COPY Cargo.toml Cargo.lock build.rs ./
COPY crates crates
COPY src src
COPY examples examples
ARG REVISION=unknown
ENV REVISION=$REVISION
# The cache mounts are not part of the layer, so the binary is copied out of them.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --profile dist --locked --bin marketing-messages-exporter \
    && cp target/dist/marketing-messages-exporter /marketing-messages-exporter \
    && mkdir /state

# The final image contains only the CA certificates, the binary, and the folder of the state file.
FROM scratch
ARG REVISION=unknown
LABEL org.opencontainers.image.title="marketing-messages-exporter" \
      org.opencontainers.image.description="Prometheus exporter for Meta's Marketing Messages on Messenger" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="$REVISION"
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /marketing-messages-exporter /marketing-messages-exporter
# A new named volume takes over its owner.
COPY --from=build --chown=65532:65532 /state /var/lib/marketing-messages-exporter
# Numeric, so that Kubernetes can verify `runAsNonRoot`.
USER 65532:65532
WORKDIR /etc/marketing-messages-exporter
EXPOSE 10919
# If you set --web.listen-address or --web.config.file, pass the same flags to the health check.
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s \
    CMD ["/marketing-messages-exporter", "healthcheck"]
ENTRYPOINT ["/marketing-messages-exporter"]
