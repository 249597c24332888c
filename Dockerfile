# syntax=docker/dockerfile:1
# A static program and nothing beside it: no shell, no package manager. `docker build --build-arg REVISION=$(git rev-parse
# --short=12 HEAD) .` makes it say which revision it is.

FROM rust:1.88.0-alpine3.22 AS build
# hadolint ignore=DL3018 # Alpine keeps no old versions: a pinned one is gone with the next
RUN apk add --no-cache ca-certificates musl-dev
WORKDIR /src
COPY Cargo.toml Cargo.lock build.rs ./
COPY src src
COPY examples examples
ARG REVISION=unknown
ENV REVISION=$REVISION
# Both caches outlive the layer; the program is copied out of them.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --bin marketing-messages-exporter \
    && cp target/release/marketing-messages-exporter /marketing-messages-exporter

# Certificate authorities, the program, and nothing else.
FROM scratch
ARG REVISION=unknown
LABEL org.opencontainers.image.title="marketing-messages-exporter" \
      org.opencontainers.image.description="Prometheus exporter for Meta's Marketing Messages on Messenger" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="$REVISION"
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /marketing-messages-exporter /marketing-messages-exporter
# By number, so that Kubernetes sees that it is not root.
USER 65532:65532
WORKDIR /etc/marketing-messages-exporter
EXPOSE 10919
# With other flags for address or web config, give them to the health check as well.
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s \
    CMD ["/marketing-messages-exporter", "healthcheck"]
ENTRYPOINT ["/marketing-messages-exporter"]
